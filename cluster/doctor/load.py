"""The policy on a device: room for it, its numbers, and one forward pass."""

from __future__ import annotations

import math
import time

import torch

from cluster.doctor.case import Case
from cluster.doctor.check import Result, ok, red
from cluster.doctor.folder import QUESTION
from cluster.run.disk import check_space, in_units
from cluster.run.writable import folder_problem
from policies.files.checkpoints import DTYPES, load_policy
from rl.types import Message

# Half of it is masked, in turn: a policy that knows English is far surer of what is hidden than of any token.
SENTENCE = "The capital of France is Paris, and the capital of Germany is Berlin."
SPARE = 1 << 30  # bytes of the host, or of a device, that stay for all else


def device(case: Case) -> Result:
    """It is there, and computes in the dtype asked for."""
    from cluster.run.preflight import check_device
    from rl.config import PolicyConfig

    check_device(PolicyConfig(path=case.path, device=case.device, dtype=case.dtype))
    where = torch.device(case.device)
    name = "" if where.type == "cpu" else f", {torch.cuda.get_device_name(where)}"
    if where.type == "cpu" and case.dtype == "bfloat16":
        return red(
            "policy.dtype=bfloat16 on a CPU: its rounding hides whether first ratios are 1, and few CPUs are fast in it",
            "leave policy.dtype out here (float32), or ask on a GPU",
        )
    if where.type == "cuda" and case.dtype == "bfloat16" and torch.cuda.get_device_capability(where) < (8, 0):
        return red(
            f"{case.device}{name}: has no bfloat16", "policy.dtype=float32, or a GPU from 2020 on (A100 or newer)"
        )
    return ok(f"{case.device}{name}, {case.dtype}", device=case.device, dtype=case.dtype)


def output(case: Case) -> Result:
    if problem := folder_problem(case.out):
        return red(
            f"--out {case.out}: cannot be written: {problem}", "give a folder that you may write to: --out FOLDER"
        )
    return ok(f"pictures go to {case.out}")


def disk(case: Case) -> Result:
    """For a run's checkpoint and its trained policy."""
    check_space(case.config, case.folder)
    return ok(f"a run's checkpoint fits in output_dir={case.config.output_dir}")


def room(case: Case) -> Result:
    """For the weights alone, in the dtype asked for. What an update takes beside them comes later."""
    wanted, free = case.weights * DTYPES[case.dtype].itemsize, free_memory(case.device)
    text = f"weights take {in_units(wanted)} in {case.dtype}; {in_units(free)} are free on {case.device}"
    if wanted + SPARE <= free:
        return ok(text, wanted=wanted, free=free)
    return red(text, "end what else runs here, or ask on a machine with more memory")


def free_memory(where: str) -> int:
    """Bytes that a process may take of a device's memory."""
    if where.startswith("cuda"):
        return torch.cuda.mem_get_info(where)[0]
    import psutil

    return psutil.virtual_memory().available


def policy(case: Case) -> Result:
    began = time.perf_counter()
    case.policy = load_policy(case.folder, device=case.device, dtype=case.dtype)
    seconds = time.perf_counter() - began
    size = sum(tensor.nbytes for tensor in case.policy.tensors())
    return ok(f"{in_units(size)} in {seconds:.1f} s", bytes=size, load_s=round(seconds, 2))


def finite(case: Case) -> Result:
    """Every weight is a number, and no matrix is nothing but zeros."""
    for name, weight in case.loaded.module.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            bad = int((~torch.isfinite(weight)).sum())
            return red(f"{name}: {bad:,} of {weight.numel():,} numbers are NaN or infinite", _COPY)
        if weight.dim() > 1 and not bool(weight.any()):
            return red(f"{name}: all of its {weight.numel():,} numbers are 0", _COPY)
    return ok("all weights are finite")


_COPY = "copy the weights from the original checkpoint, or go back to a training checkpoint before it"


@torch.no_grad()
def forward(case: Case) -> Result:
    """Twice: the first pass pays for what is loaded then, and how long the second takes decides how much is sampled."""
    policy = case.loaded
    ids = policy.tokenizer.encode(SENTENCE)
    prompt = policy.tokenizer.chat([Message("user", QUESTION)])[: policy.max_length // 2]
    hidden = list(range(1, len(ids), 2))
    masked = [policy.vocabulary.mask_id if place % 2 else token for place, token in enumerate(ids)]
    logits = _logits(case, masked)
    if not bool(torch.isfinite(logits).all()):
        return red(
            f"logits of a plain sentence are NaN or infinite in {case.dtype}",
            "policy.dtype=float32 if this is another dtype; else the weights are broken: copy them again",
        )
    logp = torch.log_softmax(logits[hidden].float(), -1)
    nats = -float(logp.gather(1, torch.tensor([[ids[place]] for place in hidden], device=logp.device)).mean())
    began = time.perf_counter()
    _logits(case, [*prompt, *[policy.vocabulary.mask_id] * 32][: policy.max_length])
    case.pass_s = time.perf_counter() - began
    chance = math.log(policy.vocabulary.size)
    return ok(
        f"{case.pass_s:.3f} s; hidden words of an English sentence cost {nats:.1f} nats, {chance:.1f} by chance",
        pass_s=case.pass_s, nats=nats, chance=chance,
    )  # fmt: skip


def _logits(case: Case, ids: list[int]) -> torch.Tensor:
    """[L, V], on a device that has finished."""
    found = case.loaded.logits(torch.tensor([ids], device=case.device))[0]
    if case.device.startswith("cuda"):
        torch.cuda.synchronize(case.device)
    return found

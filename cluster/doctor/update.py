"""One update on the rollouts, the law that its first ratios are 1, and its memory against the plan's arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from cluster.doctor.case import Case
from cluster.doctor.check import Result, ok, red, skipped
from cluster.doctor.load import SPARE, free_memory
from cluster.doctor.rollouts import GROUP
from cluster.plan.memory import Training, learner_memory
from cluster.plan.model import adapter_of, model_of
from cluster.plan.plan import Assumed, make_plan
from cluster.plan.seconds import DEVICES, Device
from cluster.run.disk import in_units
from policies import lora
from policies.files.checkpoints import own_sizes
from rl.config import Config, LearnerConfig, UniGRPOConfig
from rl.config.lora import LoraConfig
from rl.learner.engine import TorchEngine
from rl.learner.reference import make_reference
from rl.learner.update import RATIO_TOLERANCE, UniGRPOLearner
from rl.prepare import prepare
from rl.types import Task

RANK = 8  # of the adapter that is trained where all weights and their optimizer do not fit
SLOW_S = 4.0  # seconds of a forward pass from which on text alone is trained
# Weights, and so logits, are rounded to 8 bits: a log-prob of 10 to within 0.04.
BFLOAT16_TOLERANCE = 0.05
# The plan's own promise is 15%. Beside it a process loads code of libraries, and a GPU has workspaces of cuBLAS.
OVER, LIBRARIES, WORKSPACES = 1.15, 512 << 20, 128 << 20
_CALIBRATE = "open an issue with unigrpo doctor --json: the plan's arithmetic is wrong for this policy"


def update(case: Case) -> Result:
    """With an adapter where training all weights would not fit here. Two inner updates: one alone has no ratios."""
    tasks = [Task.TEXT] if case.pass_s > SLOW_S else list(case.groups)
    groups = [case.groups[task] for task in tasks if task in case.groups]
    settings, training = _settings(case, max(len(each.token_ids) for group in groups for each in group.rollouts))
    case.planned = sum(learner_memory(own_sizes(case.folder), training).values())
    free = free_memory(case.device) + case.weights * case.loaded.module.wte.weight.element_size()
    if case.planned + SPARE > free:
        return red(
            f"the smallest update takes {in_units(case.planned)}, and {in_units(free)} are free on {case.device}",
            "ask on a machine with more memory; unigrpo plan says how much a run takes",
        )
    case.trained = f"an adapter of rank {RANK}" if settings.lora.rank else "all weights"
    batch = prepare(groups, replace(case.config, learner=settings), 0, weight_version=0)
    case.tokens = sum(len(ids) for ids in batch.token_ids)
    case.before = _begin_peak(case)
    if settings.lora.rank:
        lora.attach(case.loaded, RANK, settings.lora.alpha, settings.lora.target, 0)
    reference = make_reference(case.loaded, None) if settings.algorithm.kl_coef > 0 else None
    engine = TorchEngine(case.loaded.module, settings, settings.algorithm.mu)
    case.report = UniGRPOLearner(case.loaded, engine, settings, reference).update(batch)
    case.peak = _peak(case)
    seconds = case.report.metrics["timing_s/learner"]
    what = ", ".join(tasks)
    return ok(
        f"{case.trained}, {settings.algorithm.mu} steps on {len(batch)} rollouts ({what}) in {seconds:.1f} s",
        seconds=seconds,
    )


def _settings(case: Case, longest: int) -> tuple[LearnerConfig, Training]:
    """What is trained, and the same for the plan's arithmetic."""
    sizes = own_sizes(case.folder)
    whole = LearnerConfig(
        engine="torch", lr=1e-6, micro_batch_size_per_gpu=GROUP, threads=max(1, torch.get_num_threads()),
        algorithm=UniGRPOConfig(mu=2),
    )  # fmt: skip
    found = []
    adapter = LoraConfig(rank=RANK, target=list(_target(case)))
    for settings in (whole, replace(whole, lora=adapter, activation_checkpointing=True)):
        training = Training(
            dtype=case.dtype, zero_stage=0, ranks=1, micro_batch=GROUP, length=longest, scored=longest,
            checkpointing=settings.activation_checkpointing, reference=True, logits_mib=settings.logits_mib,
            adapter=adapter_of(settings.lora, sizes), deepspeed=False,
        )  # fmt: skip
        found.append((settings, training))
    free = free_memory(case.device) + case.weights * case.loaded.module.wte.weight.element_size()
    fits = sum(learner_memory(sizes, found[0][1]).values()) + SPARE < free
    return found[0] if fits else found[1]


def _target(case: Case) -> Sequence[str]:
    """The layers of the family's card, unless the run's adapter has others."""
    own, card = case.config.learner.lora, None if case.family is None else case.family.card
    return own.target if own.on or card is None else card.lora_target


def first_ratios(case: Case) -> Result:
    """Law: under equal weights and masks, new and old log-probs are equal."""
    assert case.report is not None
    error = case.report.metrics.get("actor/first_ratio_error", math.nan)
    limit = RATIO_TOLERANCE if case.dtype == "float32" else BFLOAT16_TOLERANCE
    text = f"at most {error:.1e} off 1 ({limit:g} allowed in {case.dtype})"
    if error <= limit:
        return ok(text, error=error, allowed=limit)
    return red(
        text, "policy.dtype=float32; if it is that, a module is random (dropout) or a kernel is not deterministic"
    )


def gradient(case: Case) -> Result:
    assert case.report is not None
    metrics = case.report.metrics
    missed, norm = metrics["actor/skipped_updates"], metrics.get("actor/grad_norm", math.nan)
    if missed:
        return red(f"not finite in {missed:g} of 2 steps", "policy.dtype=float32, or copy the weights again")
    if not norm > 0:
        return red(f"its norm is {norm:g}: nothing is learned", "open an issue with unigrpo doctor --json")
    return ok(f"finite, norm {norm:.3g}", norm=norm)


def memory(case: Case) -> Result:
    """The measured peak of the update against the plan's figure for the same settings."""
    if case.peak is None:
        return skipped("nothing measures a process's peak here")
    text = f"peak {in_units(case.peak)}, planned {in_units(case.planned)} for {case.trained}"
    beside = WORKSPACES if case.device.startswith("cuda") else LIBRARIES
    if case.peak <= OVER * case.planned + beside:
        return ok(text, peak=case.peak, planned=case.planned)
    return red(f"{text}: more than 15% and {in_units(beside)} above it", _CALIBRATE)


def recipe(case: Case) -> Result:
    """A learner rank and a rollout worker of the recipe, each against a device of this machine."""
    if case.recipe is None:
        return skipped("no --recipe was given")
    config = _with(case)
    model = model_of(config, case.settings)
    made = make_plan(config, model, _here(case), Assumed())
    parts = [f"{in_units(sum(sizes.values()))} a {name}" for name, sizes in made.memory.items()]
    text = f"{case.recipe}: {', '.join(parts)}; {in_units(made.device_memory)} of {case.device} may be used"
    if made.used <= made.device_memory:
        return ok(text, used=made.used, device=made.device_memory)
    return red(
        text, f"unigrpo plan --recipe {case.recipe} policy.path={case.path} gpus=N gpu=NAME proposes settings that fit"
    )


def _with(case: Case) -> Config:
    policy = replace(case.config.policy, path=str(case.folder), device="cuda", dtype=case.dtype)
    return replace(case.config, policy=policy)


def _here(case: Case) -> Device:
    """This machine's device by its memory; how fast it is does not matter here."""
    if case.device.startswith("cuda"):
        total = float(torch.cuda.get_device_properties(case.device).total_memory)
    else:
        import psutil

        total = float(psutil.virtual_memory().total)
    return replace(DEVICES["h100"], name=case.device, memory=total)


def speed(case: Case) -> Result:
    """Of this short trial, not of a run: canvases are short and groups small."""
    assert case.report is not None
    texts = [case.sampled[task] for task in (Task.TEXT, Task.UNDERSTAND) if task in case.sampled]
    written = sum(tokens for tokens, _ in texts) / max(1e-9, sum(seconds for _, seconds in texts))
    trained = case.tokens / max(1e-9, case.report.metrics["timing_s/learner"])
    drawn = GROUP / max(1e-9, case.sampled[Task.DRAW][1]) if Task.DRAW in case.sampled else None
    pictures = "" if drawn is None else f", {drawn:,.2f} images/s drawn"
    return ok(
        f"{written:,.1f} tokens/s written{pictures}, {trained:,.1f} tokens/s trained, in groups of {GROUP}",
        tokens_per_s=written, images_per_s=drawn, trained_tokens_per_s=trained,
    )  # fmt: skip


def _begin_peak(case: Case) -> float:
    """Bytes that the process has beside the policy's own weights, from which its peak is counted."""
    weights = float(sum(parameter.nbytes for parameter in case.loaded.module.parameters()))
    if case.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(case.device)
        return float(torch.cuda.memory_allocated(case.device)) - weights
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    except OSError:
        return math.nan
    return float(_status("VmRSS")) - weights


def _peak(case: Case) -> float | None:
    if case.device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated(case.device)) - case.before
    return None if math.isnan(case.before) else float(_status("VmHWM")) - case.before


def _status(name: str) -> int:
    """Bytes, of a line of /proc/self/status."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(lines[name].split()[0]) * 1024

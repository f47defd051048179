"""What ``unigrpo plan`` says a learner rank takes, against the peak of a real one: ``python -m benchmarks.parity.plan_memory``.

Each layout trains the shipped policy ``tiny`` for two steps in processes of its own, on the CPU. Its peak is the highest
resident memory over what the process had before it loaded the policy. The plan's parts are added up, the host's too: on a
CPU both are one memory. Memory is measured by Linux (``VmHWM``), with an allocator that gives back what is freed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parity.ranks import fork_ranks
from cluster.learner.deepspeed_engine import _import_deepspeed

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
PROMPT, RESPONSE = 64, 192  # tokens
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Layout:
    """A name, ranks, and what of the config differs from the recipe ``tiny``."""

    name: str
    ranks: int
    overrides: tuple[str, ...]


def layouts() -> list[Layout]:
    """Every choice that moves memory, alone; and the pairs of which users have questions."""
    lora, small, wide = (
        "learner.lora.rank=16",
        "learner.micro_batch_size_per_gpu=2",
        "learner.micro_batch_size_per_gpu=16",
    )
    found = [
        Layout("plain", 1, (wide,)),
        Layout("small micro-batch", 1, (small,)),
        Layout("no reference", 1, (small, "learner.algorithm.kl_coef=0")),
        Layout("checkpointing", 1, (wide, "learner.activation_checkpointing=true")),
        Layout("packing", 1, (wide, "learner.packing=true")),
        Layout("mu=1", 1, (wide, "learner.algorithm.mu=1")),
        Layout("LoRA", 1, (wide, lora)),
        Layout("LoRA, small micro-batch", 1, (small, lora)),
        Layout("LoRA of queries and values", 1, (wide, lora, "learner.lora.target=[q_proj,v_proj]")),
        Layout("LoRA, checkpointing", 1, (wide, lora, "learner.activation_checkpointing=true")),
        Layout("8-bit AdamW", 1, (small, "learner.optimizer=adamw8bit")),
        Layout("bfloat16", 1, (small, "policy.dtype=bfloat16")),
        Layout("bfloat16, wide", 1, (wide, "policy.dtype=bfloat16")),
        Layout("bfloat16, LoRA", 1, (small, "policy.dtype=bfloat16", lora)),
        Layout("bfloat16, 8-bit", 1, (small, "policy.dtype=bfloat16", "learner.optimizer=adamw8bit")),
        Layout("torch engine", 1, (small, "learner.engine=torch")),
    ]
    for stage in (1, 2, 3):
        zero = f"learner.zero_stage={stage}"
        found += [Layout(f"ZeRO {stage}, {ranks} ranks", ranks, (small, zero)) for ranks in (1, 2)]
        found.append(Layout(f"ZeRO {stage}, offload, 2 ranks", 2, (small, zero, "learner.offload_optimizer=true")))
    found.append(Layout("ZeRO 0, 2 ranks", 2, (small,)))
    found.append(Layout("ZeRO 3, LoRA, 2 ranks", 2, (small, "learner.zero_stage=3", lora)))
    found.append(Layout("ZeRO 2, bfloat16, 2 ranks", 2, (small, "learner.zero_stage=2", "policy.dtype=bfloat16")))
    return found


def planned(layout: Layout) -> float:
    """Bytes of a learner rank by ``unigrpo plan``'s arithmetic, host and device together."""
    from cluster.plan.memory import learner_memory
    from cluster.plan.model import adapter_of
    from cluster.plan.plan import Model, training_of
    from cluster.plan.seconds import Sampler
    from policies.families.registry import family_of
    from policies.files.folders import find_policy, read_config

    config = _config(layout, Path("runs"))
    folder = read_config(find_policy(config.policy.path))
    sizes = family_of(folder["model_type"]).sizes(folder)
    model = Model(sizes, adapter_of(config.learner.lora, sizes))
    longest = Sampler("text", 1.0, PROMPT + RESPONSE, RESPONSE, 1)
    return sum(learner_memory(sizes, training_of(config, model, longest)).values())


def measure(layout: Layout, deadline_s: float = 1800.0) -> float:
    """Bytes of the fullest rank at its peak."""
    with tempfile.TemporaryDirectory() as folder:
        fork_ranks(layout.ranks, lambda rank: _rank(layout, rank, Path(folder)), deadline_s)
        return max(float((Path(folder) / f"{rank}.txt").read_text()) for rank in range(layout.ranks))


def _rank(layout: Layout, rank: int, folder: Path) -> None:
    """Twice: the first time pays for the code of libraries that is loaded when it is first called."""
    import torch.distributed as dist

    store = None if layout.ranks == 1 else dist.FileStore(str(folder / "store"), layout.ranks)  # pyright: ignore[reportPrivateImportUsage]
    _train(layout, rank, folder, store)
    _give_back()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    _train(layout, rank, folder, store)
    (folder / f"{rank}.txt").write_text(str(_status("VmHWM") - before))


def _train(layout: Layout, rank: int, folder: Path, store: Any) -> None:
    """Two steps: the second finds the optimizer's state there."""
    from cluster.learner.one_rank import make_learner

    config = _config(layout, folder)
    learner = make_learner(config, rank, layout.ranks, store)
    batch = _batch(config.learner.micro_batch_size_per_gpu * layout.ranks)
    for _ in range(2):
        learner.update(batch)
    if hasattr(learner.engine, "close"):
        learner.engine.close()  # pyright: ignore[reportAttributeAccessIssue]


def _give_back() -> None:
    import ctypes

    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def _config(layout: Layout, folder: Path) -> Any:
    from cluster.actors.device import on_this_machine
    from rl.config import load_config

    fixed = ("learner.threads=1", f"output_dir={folder}", f"cluster.learner_ranks={layout.ranks}")
    return on_this_machine(load_config("tiny", [*fixed, *layout.overrides]))


def _batch(rollouts: int) -> Any:
    from rl.types import MaskDraw, Task, TrainBatch

    generator = np.random.default_rng(0)
    length = PROMPT + RESPONSE
    return TrainBatch(
        token_ids=tuple(generator.integers(16, 700, length) for _ in range(rollouts)),
        response_mask=tuple(np.arange(length) >= PROMPT for _ in range(rollouts)),
        advantages=generator.normal(size=rollouts).astype(np.float32),
        mask_draws=tuple(
            tuple(MaskDraw(100 * n + i, ratio) for i in range(rollouts)) for n, ratio in enumerate((0.3, 0.9))
        ),
        tasks=(Task.TEXT,) * rollouts,
        step_maps=tuple(np.zeros(RESPONSE, dtype=np.int32) for _ in range(rollouts)),
    )


def _status(name: str) -> int:
    """Bytes, of a line of /proc/self/status."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(lines[name].split()[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="layouts whose name has one of these in it")
    parser.add_argument("--out", type=Path, help="where the JSON goes; what it has already is kept")
    parser.add_argument("--deadline", type=float, default=1800.0, help="seconds for one layout")
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(
            sys.executable,
            [sys.executable, "-m", "benchmarks.parity.plan_memory", *sys.argv[1:]],
            os.environ | ALLOCATOR,
        )
    found = json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    _warm_up()
    print(f"{'layout':30} {'ranks':>5} {'plan MiB':>9} {'peak MiB':>9} {'plan/peak':>9}")
    for layout in layouts():
        if layout.name in found or (options.only and not any(part in layout.name for part in options.only)):
            continue
        plan, peak = planned(layout), measure(layout, options.deadline)
        found[layout.name] = {"plan": plan, "peak": peak}
        print(f"{layout.name:30} {layout.ranks:5} {plan / MIB:9.1f} {peak / MIB:9.1f} {plan / peak:9.2f}", flush=True)
        if options.out:
            options.out.write_text(json.dumps(found, indent=2) + "\n")


def _warm_up() -> None:
    """What every layout needs is imported, and called once, before processes are forked."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        _import_deepspeed("cpu", Path(folder) / "log")
        _train(Layout("", 1, ("learner.engine=torch", "learner.micro_batch_size_per_gpu=2")), 0, Path(folder), None)


if __name__ == "__main__":
    main()

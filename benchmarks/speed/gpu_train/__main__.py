"""``unigrpo train`` on one GPU over Ray, whole: MMaDA's architecture at 1B with random weights, text and drawings, 6 steps.

    python -m benchmarks.speed.gpu_train --out gpu_train.json            at most 10 minutes on a card of 80 GB or more
    python -m benchmarks.speed.gpu_train --out dry.json --dry            the same runs with a small policy, on any machine
                                         --only ipc take_turns           some of the runs

The same run four times: in one process; over Ray with weights by ``object_store``; by ``ipc``; and taking turns on the card,
with a rollout worker killed in its third step. Of each: its steps, the first ratios in bfloat16 (1, within the tolerance of
``unigrpo doctor``), the memory of each process beside ``unigrpo plan``'s (within 10%), and the digest of its weights. The
JSON is written again after each run; logs and runs are in a folder beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.speed.gpu.card import machine
from benchmarks.speed.gpu_train.planned import beside_plan, planned
from benchmarks.speed.gpu_train.runs import DRY, RUNS, STEPS, STRUCK, VICTIM, WHOLE, Run, Scale, make_policy, settings
from benchmarks.speed.gpu_train.watched import Watched, steps_of, watch
from cluster.doctor.update import BFLOAT16_TOLERANCE
from rl.checkpoints.files import write_whole
from rl.config import load_config

FORMAT, DTYPE, MEMORY = 1, "bfloat16", 0.10
RATIO, RESTARTS = "actor/first_ratio_error", "perf/worker_restarts"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.gpu_train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("gpu_train.json"))
    parser.add_argument("--dry", action="store_true", help="a small policy, also on a CPU")
    parser.add_argument("--only", nargs="*", default=[], choices=[run.name for run in RUNS])
    options = parser.parse_args(arguments)
    cuda = torch.cuda.is_available()
    if not cuda and not options.dry:
        return _mistake("no GPU is visible here; --dry runs a small policy on the CPU")
    if not options.out.parent.is_dir():
        return _mistake(f"--out {options.out}: no such folder: {options.out.parent}; make it first")
    began, scale = time.monotonic(), DRY if options.dry else WHOLE
    folder = options.out.with_suffix(".runs").absolute()
    folder.mkdir(exist_ok=True)
    policy = make_policy(folder / "policy", scale.size)
    result: dict[str, Any] = {
        "bench": "gpu_train", "format": FORMAT, "dry": options.dry, "machine": machine("cuda:0" if cuda else "cpu"),
        "steps": STEPS, "ratio_tolerance": BFLOAT16_TOLERANCE, "memory_tolerance": MEMORY, "runs": {},
    }  # fmt: skip
    for run in RUNS:
        if options.only and run.name not in options.only:
            continue
        result["runs"][run.name] = found = _one(run, scale, policy, folder)
        result["seconds"] = time.monotonic() - began
        digests = {each["weights_digest"] for each in result["runs"].values() if each["weights_digest"]}
        result["one_digest"] = len(digests) == 1
        write_whole(options.out, json.dumps(result, indent=2) + "\n")
        print(_line(run.name, found), flush=True)
    print(
        f"{options.out}: {len(result['runs'])} runs in {result['seconds']:.0f} s, equal weights: {result['one_digest']}"
    )
    return int(any(not found["ok"] for found in result["runs"].values()))


def _one(run: Run, scale: Scale, policy: Path, folder: Path) -> dict[str, Any]:
    overrides = settings(run, scale, policy, folder, DTYPE)
    run_dir, victim = folder / run.name, VICTIM if run.struck else None
    try:
        seen = watch(overrides, run_dir, folder / f"{run.name}.log", scale.most_s, victim, STRUCK)
        plan = planned(load_config("tiny", overrides))
    except Exception as error:  # the other runs go on
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return {"ok": False, "problems": [reason], "weights_digest": None, "seconds": 0.0}
    return judged(run, seen, steps_of(run_dir), _digest(run_dir), beside_plan(plan, seen.peaks, run.name == "inline"))


def judged(
    run: Run,
    seen: Watched,
    steps: Sequence[Mapping[str, float]],
    digest: str | None,
    memory: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """A run's figures, and what of them is not as it must be."""
    problems = []
    if seen.code != 0:
        problems.append("took too long, and was ended" if seen.code is None else f"ended with code {seen.code}")
    if len(steps) != STEPS:
        problems.append(f"{len(steps)} of {STEPS} steps")
    error = max((step.get(RATIO, 0.0) for step in steps), default=None)
    if error is not None and error > BFLOAT16_TOLERANCE:
        problems.append(f"a first ratio is {error:.2g} off 1")
    restarts = max((step.get(RESTARTS, 0.0) for step in steps), default=0.0)
    if run.struck and (seen.killed is None or restarts < 1):
        problems.append("nobody was killed" if seen.killed is None else "the killed worker was not replaced")
    for name, each in memory.items():
        if each["peak_of_plan"] is not None and abs(each["peak_of_plan"] - 1) > MEMORY:
            problems.append(f"{name}: peak is {each['peak_of_plan']:.2f} of the plan")
    return {
        "ok": not problems, "problems": problems, "seconds": seen.seconds, "step_s": [step["timing_s/step"] for step in steps],
        "median_step_s": median(step["timing_s/step"] for step in steps[1:]) if len(steps) > 1 else None,
        "sampling_s": [step.get("timing_s/gen") for step in steps], "first_ratio_error": error, "restarts": restarts,
        "killed": seen.killed is not None, "weights_digest": digest, "memory": memory,
        "host_bytes": {each["name"]: each["host"] for each in seen.peaks},
    }  # fmt: skip


def _digest(run_dir: Path) -> str | None:
    file = run_dir / "summary.json"
    return json.loads(file.read_text("utf-8"))["weights_digest"] if file.is_file() else None


def _line(name: str, found: Mapping[str, Any]) -> str:
    if not found["ok"]:
        return f"{name}: {'; '.join(found['problems'])} ({found['seconds']:.0f} s)"
    step = found["median_step_s"]
    return f"{name}: ok, a step {step:.2f} s, first ratios within {found['first_ratio_error']:.1e} ({found['seconds']:.0f} s)"


def _mistake(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

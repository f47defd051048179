"""(a) Samples an hour of the whole loop: our run over Ray, one process of TRL's kind, and a process for each stage."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from benchmarks.bench.floors import Machine, assumed, rollouts_of_step, step_seconds
from benchmarks.speed.process_per_stage import drive
from rl.config import load_config

RECIPE = "tiny"
QUIET = (
    "tracking.mlflow=false", "test_freq=0", "save_freq=0", "save_minutes=0", "val_before_train=false", "val_after_train=false",
    "resume_mode=disable", "policy.device=cpu", "policy.dtype=float32",
)  # fmt: skip
WARM = 1  # first steps that are left out


def measure(
    folder: Path, machine: Machine, steps: int, staged_steps: int, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Each side's steps, samples an hour, ratio of ours, and share of the floor."""
    config = load_config(RECIPE, [*QUIET, *overrides])
    known = assumed(config)
    ours = our_steps(folder, steps, overrides)
    single = single_steps(folder, steps, overrides)
    staged = drive(RECIPE, staged_steps, folder / "staged", [*overrides, f"steps={staged_steps}"])
    seconds = {
        "ours": median(step["timing_s/step"] for step in ours[WARM:]),
        "single process": median(step["seconds"] for step in single[WARM:]),
        "process a stage": median(wall for wall, _ in staged[WARM:]),
    }
    trained = 1 - mean(step.get("frac_reward_zero_std", 0.0) for step in ours[WARM:])
    floor = step_seconds(config, known, machine, trained if config.learner.drop_equal_groups else 1.0)
    rollouts = mean(step["rollouts"] for step in single)
    curves = {
        "ours": [step["critic/rewards/mean"] for step in ours],
        "single process": [step["reward"] for step in single],
    }
    return {
        "step_s": seconds,
        "samples_per_hour": {side: 3600 * rollouts / value for side, value in seconds.items()},
        "ours_over": {side: value / seconds["ours"] for side, value in seconds.items() if side != "ours"},
        "floor_s": floor,
        "of_floor": {side: floor / value for side, value in seconds.items()},
        "rollouts_a_step": {"seen": rollouts, "expected": rollouts_of_step(config, known)},
        "rewards": curves,
        "curves": alike(*curves.values()),
    }


def our_steps(folder: Path, steps: int, overrides: Sequence[str]) -> list[dict[str, float]]:
    settings = [*QUIET, f"steps={steps}", f"output_dir={folder}", "name=ours", *overrides]
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", RECIPE, *settings]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = map(json.loads, (folder / "ours" / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "timing_s/step" in line]


def single_steps(folder: Path, steps: int, overrides: Sequence[str]) -> list[dict[str, float]]:
    out = folder / "single.json"
    command = [sys.executable, "-m", "benchmarks.bench.single_process", "--recipe", RECIPE, "--steps", str(steps)]
    subprocess.run([*command, "--out", str(out), *QUIET, *overrides], check=True, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())


def alike(one: Sequence[float], other: Sequence[float]) -> dict[str, float | bool | None]:
    """Two curves of mean rewards over the same prompts: the mean difference, and whether it is within two standard errors.
    None where they are too short to say."""
    differences = [first - second for first, second in zip(one, other, strict=False)]
    if len(differences) < 3:
        return {"difference": mean(differences) if differences else None, "two_standard_errors": None, "alike": None}
    error = 2 * stdev(differences) / math.sqrt(len(differences))
    return {
        "difference": mean(differences), "two_standard_errors": error, "alike": abs(mean(differences)) <= error
    }  # fmt: skip


def rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One a side, for the table. Ours has a ratio to each other one."""
    made = []
    for side, seconds in found["step_s"].items():
        ratio = found["ours_over"].get(side)
        made.append(row(f"whole loop, {side}", seconds, "s a step", found["floor_s"], found["of_floor"][side], ratio))
    return made


def row(
    name: str, value: float, unit: str, floor: float | None, of_floor: float | None, ratio: float | None = None
) -> dict[str, Any]:
    """ratio: how many times ours is better than this side, or than what it is compared with."""
    return {"name": name, "value": value, "unit": unit, "floor": floor, "of_floor": of_floor, "ratio": ratio}

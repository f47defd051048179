"""Seeds and mask schedules at equal compute: the README's table. ``python benchmarks/learning/seeds.py --out runs/seeds``.

Every run is the same recipe but for its seed, its schedule and its steps. A step costs more where the masks of a group's
rollouts differ, since equal sequences share a pass, so ``--steps stratified=60`` gives a schedule as many as take the time of
the others. Runs are inline, one thread each, ``--jobs`` at a time; a run that is finished is not run again. Prints Markdown:
held-out score before and after, the gain's mean over the seeds and its sample standard deviation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

INLINE = ("cluster.mode=inline", "learner.threads=1", "tracking.mlflow=false", "save_freq=0")


def run_name(schedule: str, seed: int) -> str:
    return f"{schedule}-{seed}"


def given_steps(pairs: Sequence[str]) -> dict[str, int]:
    """``["random=60"]`` -> ``{"random": 60}``. Raises ValueError where one is not SCHEDULE=NUMBER."""
    return {name: int(steps) for name, _, steps in (pair.partition("=") for pair in pairs)}


def train(out: Path, recipe: str, schedule: str, seed: int, overrides: Sequence[str]) -> dict[str, Any]:
    """One run's summary.json. Raises CalledProcessError where the run fails; its log says why."""
    folder = out / run_name(schedule, seed)
    summary = folder / "summary.json"
    if not summary.is_file():
        command = [
            str(Path(sys.executable).with_name("unigrpo")), "train", "--recipe", recipe, *INLINE, f"seed={seed}",
            f"learner.algorithm.schedule={schedule}", f"name={folder.name}", f"output_dir={out}", *overrides,
        ]  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        with (out / f"{folder.name}.log").open("w", encoding="utf-8") as log:
            subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    return json.loads(summary.read_text(encoding="utf-8"))


def table(summaries: Mapping[str, Sequence[Mapping[str, Any]]], what: str = "schedule") -> str:
    """summaries: schedule -> one summary a seed -> Markdown, one row a schedule and task, scores in percent.

    what: the first column's name, where it is not schedules that are compared."""
    lines = [
        f"| {what} | steps | task | before | after, each seed | gain: mean | spread |",
        "|---|---|---|---|---|---|---|",
    ]
    for schedule, runs in summaries.items():
        steps = runs[0]["steps"]
        for task in runs[0]["tasks"]:
            before = [100 * run["tasks"][task]["before"] for run in runs]
            after = [100 * run["tasks"][task]["after"] for run in runs]
            gains = [late - early for early, late in zip(before, after, strict=True)]
            spread = f"{statistics.stdev(gains):.1f}" if len(gains) > 1 else "one seed"
            lines.append(
                f"| {schedule} | {steps} | {task} | {_join(before)} | {_join(after)} | {statistics.mean(gains):+.1f} | {spread} |"
            )
    return "\n".join(lines)


def _join(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"))
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--schedules", nargs="+", default=["stratified", "full", "random"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", nargs="+", default=[], metavar="SCHEDULE=N", help="where not the recipe's own")
    parser.add_argument("overrides", nargs="*", help="key=value for every run")
    arguments = parser.parse_args()
    steps = given_steps(arguments.steps)
    overrides = {
        name: [*arguments.overrides, *([f"steps={steps[name]}"] if name in steps else [])]
        for name in arguments.schedules
    }
    runs = [(schedule, seed) for seed in arguments.seeds for schedule in arguments.schedules]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        found = pool.map(
            lambda run: train(arguments.out, arguments.recipe, run[0], run[1], overrides[run[0]]),
            runs,
        )
        by_run = dict(zip(runs, found, strict=True))
    print(table({name: [by_run[name, seed] for seed in arguments.seeds] for name in arguments.schedules}))


if __name__ == "__main__":
    main()

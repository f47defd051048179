"""The run folder's own record of every number, and how to read it back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from rl.checkpoints.files import new_aside, read_inside

METRICS_FILE = "metrics.jsonl"
SAMPLES_FOLDER = "samples"
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Point:
    """What was logged for one step, with the time (seconds since 1970) of its last line."""

    step: int
    time: float
    metrics: Mapping[str, float]


def read_metrics(run_dir: Path) -> list[Point]:
    """All points of a run, by step. Where a resumed run logged a step again, its later value counts.

    A torn line, left by a process that was killed while it wrote, is passed over, and so is what is no number.
    """
    steps: dict[int, Point] = {}
    for row in _rows(run_dir / METRICS_FILE):
        step, when = int(row.pop("step")), row.pop("time", 0.0)
        earlier = steps[step].metrics if step in steps else {}
        numbers = {name: float(value) for name, value in row.items() if is_number(value)}
        steps[step] = Point(step, float(when) if is_number(when) else 0.0, {**earlier, **numbers})
    return [steps[step] for step in sorted(steps)]


def curve(points: list[Point], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one metric."""
    found = [(point.step, point.metrics[name]) for point in points if name in point.metrics]
    return [step for step, _ in found], [value for _, value in found]


def set_aside(run_dir: Path, keep_until: float) -> None:
    """Move what was logged beyond a step out of the way of a run that goes another way from there; delete nothing."""
    path, samples = run_dir / METRICS_FILE, run_dir / SAMPLES_FOLDER
    later_samples = [folder for folder in samples.glob("*-*") if _step_of(folder) > keep_until]
    has_later = any(row["step"] > keep_until for row in _rows(path))
    if not has_later and not later_samples:
        return
    aside = new_aside(run_dir)
    (aside / SAMPLES_FOLDER).mkdir()
    for folder in later_samples:
        folder.rename(aside / SAMPLES_FOLDER / folder.name)
    if has_later:
        kept = [json.dumps(row) + "\n" for row in _rows(path) if row["step"] <= keep_until]
        path.rename(aside / METRICS_FILE)
        path.write_text("".join(kept), "utf-8")


def _step_of(folder: Path) -> int:
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a float holds it, and it is finite. A file of somebody else may hold anything."""
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False


def _rows(path: Path) -> Iterator[dict]:
    if not path.is_file():
        return
    for line in read_inside(path, path.parent, _MOST_BYTES).decode("utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int) and is_number(row["step"]):
            yield row

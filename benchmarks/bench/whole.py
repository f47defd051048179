"""All parts of ``unigrpo bench all`` and of ``unigrpo bench quick``: measured one after the other, written as they come."""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import loop, memory, ratios, starts
from benchmarks.bench.floors import Machine, this_machine
from rl.checkpoints.files import write_whole
from rl.errors import ConfigError, first_line

PARTS = ("loop", "starts", "memory", "ratios")
SPREAD = Path(__file__).with_name("spread.json")
WIDER = 0.1  # of a ratio, on both sides of what was seen
FORMAT = 1


def run(
    out: Path,
    only: Sequence[str] = PARTS,
    *,
    steps: int = 24,
    staged_steps: int = 3,
    repeats: int = 3,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """The JSON goes to ``out`` after each part, and a table beside it as Markdown. A part that fails says why."""
    began, machine = time.monotonic(), this_machine()
    result: dict[str, Any] = {"bench": "all", "format": FORMAT, "machine": described(machine), "parts": {}, "rows": []}
    with tempfile.TemporaryDirectory(prefix="unigrpo-bench-") as place:
        folder = Path(place)
        work: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[Any], list[dict[str, Any]]]]] = {
            "loop": (lambda: loop.measure(folder, machine, steps, staged_steps), loop.rows),
            "starts": (lambda: starts.measure(folder), starts.rows),
            "memory": (lambda: memory.measure(folder, steps), memory.rows),
            "ratios": (lambda: ratios.measure(folder, repeats), lambda found: ratios.rows(found, machine)),
        }
        for name in [name for name in PARTS if name in only]:
            measure, rows = work[name]
            since = time.monotonic()
            try:
                found: dict[str, Any] = measure()
                result["rows"] += rows(found)
            except Exception as error:  # the other parts go on
                found = {"failed": f"{type(error).__name__}: {first_line(error)}"}
            result["parts"][name] = {"seconds": time.monotonic() - since, **found}
            result["seconds"] = time.monotonic() - began
            write_whole(out, json.dumps(result, indent=2) + "\n")
            write_whole(out.with_suffix(".md"), table(result["rows"]) + "\n")
            log(f"{name}: {found.get('failed', 'ok')} ({time.monotonic() - since:.0f} s)")
    log(table(result["rows"]))
    return result


def quick(repeats: int = 3) -> tuple[dict[str, Any], list[str]]:
    """Ratios alone, and a line for each that lies outside of the spread that is committed."""
    machine = this_machine(0.5)
    with tempfile.TemporaryDirectory() as folder:
        found = ratios.measure(Path(folder), repeats, quick=True)
    rows = ratios.rows(found, machine)
    result = {"bench": "quick", "format": FORMAT, "machine": described(machine), "rows": rows}
    return result, outside(rows, read_spread())


def outside(rows: Sequence[Mapping[str, Any]], spread: Mapping[str, Sequence[float]]) -> list[str]:
    """Warnings: ratios outside of their spread, and rows that have none."""
    said = []
    for row in rows:
        value, known = row["ratio"], spread.get(row["name"])
        if value is None:
            continue
        if known is None:
            said.append(
                f"{row['name']}: {value:.2f}, and no spread is committed; `unigrpo bench quick --keep 3` writes one"
            )
        elif not known[0] <= value <= known[1]:
            said.append(f"{row['name']}: {value:.2f}, outside of {known[0]:.2f} to {known[1]:.2f}")
    return said


def read_spread(file: Path = SPREAD) -> dict[str, list[float]]:
    """Name of a row -> least and most of its ratio. Empty where none was committed. Raises ConfigError."""
    if not file.is_file():
        return {}
    try:
        return {name: [float(low), float(high)] for name, (low, high) in json.loads(file.read_text())["ratios"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{file}: not a spread: {first_line(error)}; write it again: unigrpo bench quick --keep 3"
        ) from error


def keep_spread(results: Sequence[Mapping[str, Any]], file: Path = SPREAD) -> dict[str, list[float]]:
    """What several runs saw, a tenth wider."""
    seen: dict[str, list[float]] = {}
    for result in results:
        for row in result["rows"]:
            if row["ratio"] is not None:
                seen.setdefault(row["name"], []).append(row["ratio"])
    spread = {
        name: [round(min(values) * (1 - WIDER), 3), round(max(values) * (1 + WIDER), 3)]
        for name, values in seen.items()
    }
    about = {"machine": results[0]["machine"], "runs": len(results)}
    write_whole(file, json.dumps({**about, "ratios": spread}, indent=1) + "\n")
    return spread


def described(machine: Machine) -> dict[str, Any]:
    return {
        **asdict(machine), "processor": _processor(), "capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(), "torch": torch.__version__,
    }  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown. ``ours over it``: how many times ours is faster than this side, or than what the row compares it with."""
    lines = ["| | measured | floor | of the floor | ours over it |", "|---|---|---|---|---|"]
    for row in rows:
        floor = "" if row["floor"] is None else f"{row['floor']:.3g} {row['unit']}"
        share = "" if row["of_floor"] is None else f"{row['of_floor']:.0%}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}x"
        lines.append(f"| {row['name']} | {row['value']:.3g} {row['unit']} | {floor} | {share} | {ratio} |")
    return "\n".join(lines)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )

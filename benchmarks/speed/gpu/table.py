"""Results beside predictions, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.speed.gpu.predicted import Predictions

RATES = {"flops": "TFLOP/s", "bandwidth": "GB/s"}


def compared(measured: Mapping[str, float], predicted: Predictions) -> dict[str, dict[str, float | None]]:
    """Name of a result -> floor, expected, measured, and our share of the floor: 1 is the floor itself."""
    found: dict[str, dict[str, float | None]] = {}
    for name, each in predicted.items():
        value = measured.get(name)
        share = None
        if value:
            share = value / each.floor if name in RATES else each.floor / value
        found[name] = {"floor": each.floor, "expected": each.expected, "measured": value, "of_floor": share}
    return found


def prediction_table(predicted: Mapping[str, Predictions]) -> str:
    """Markdown: what is written down before a run."""
    lines = ["| row | result | floor | expected |", "|---|---|---|---|"]
    for row, results in predicted.items():
        for name, each in results.items():
            lines.append(f"| {row} | {name} | {shown(name, each.floor)} | {shown(name, each.expected)} |")
    return "\n".join(lines)


def result_table(rows: Mapping[str, Any]) -> str:
    """Markdown: what came, beside it. Rows that were lost say why."""
    lines = ["| row | result | floor | expected | measured | of the floor |", "|---|---|---|---|---|---|"]
    for row, found in rows.items():
        if found["status"] != "ok":
            lines.append(f"| {row} | {found['status']}: {found.get('reason', 'no reason')} | | | | |")
            continue
        for name, each in found["compared"].items():
            values = [shown(name, each[part]) for part in ("floor", "expected", "measured")]
            share = "" if each["of_floor"] is None else f"{each['of_floor']:.0%}"
            lines.append(f"| {row} | {name} | {' | '.join(values)} | {share} |")
        for name, each in found["memory"].items():
            planned, peak = each["planned_sum"] / 1e9, each["peak"]
            seen = "" if peak is None else f"{peak / 1e9:.2f} GB"
            lines.append(f"| {row} | memory, {name} | | {planned:.2f} GB | {seen} | |")
        for name, why in found["failed"].items():
            lines.append(f"| {row} | {name} | | | {why} | |")
    return "\n".join(lines)


def shown(name: str, value: float | None) -> str:
    """With three digits, in a unit of its size."""
    if value is None:
        return ""
    if name in RATES:
        return f"{value / (1e12 if name == 'flops' else 1e9):,.0f} {RATES[name]}"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e6:.3g} us"

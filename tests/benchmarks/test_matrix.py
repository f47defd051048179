"""Ranks, ZeRO stages, micro-batches, packing, activations: the same losses and weights, and checkpoints go between them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.parity.matrix import BASE, LOSS_TOLERANCE, WEIGHT_TOLERANCE, layouts


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_short_matrix(tmp_path: Path) -> None:
    """In a process of its own: its ranks are forked, and torch.distributed starts once a process."""
    out = tmp_path / "matrix.json"
    command = [sys.executable, "-m", "benchmarks.parity.matrix", "--short", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    rows = json.loads(out.read_text())["layouts"]
    assert [row["layout"] for row in rows] == [layout.name for layout in layouts(short=True)]
    assert {row["stage"] for row in rows if row["ranks"] == 2} == {0, 1, 2, 3}
    assert {row["micro"] for row in rows} == {1, 8} and any(row["start"] for row in rows)
    for row, layout in zip(rows, layouts(short=True), strict=True):
        assert row["within_tolerance"], row["layout"]
        if not layout.eight_bit:
            assert row["loss_error"] <= LOSS_TOLERANCE and row["weight_error"] <= WEIGHT_TOLERANCE, row["layout"]
    moved = {row["layout"]: row["losses"] for row in rows if row["eight_bit"] and not row["start"]}
    assert len({str(losses) for losses in moved.values()}) == 3, "rounded, in other blocks"
    first = next(row for row in rows if row["layout"] == BASE.name)["losses"]
    assert len(first) == 5 and len({loss for loss, _, _ in first}) == 5 and first[-1][1] > 1e-5  # something was learned


def test_the_long_matrix_has_every_combination() -> None:
    found = {(each.ranks, each.stage, each.micro, each.packed, each.recomputed) for each in layouts(short=False)}
    assert len(found) == 2 * 4 * 2 * 2 * 2 + 1  # and plain AdamW

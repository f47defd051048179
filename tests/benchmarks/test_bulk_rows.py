"""The rows that the measurement of many rows writes, and what it makes of two runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.speed import bulk_rows
from benchmarks.speed.bulk_rows import Cost, compare, write
from rl.config import SourceConfig
from rl.data.rows import load_rows
from rl.types import Task


@pytest.mark.parametrize("kind", bulk_rows.KINDS)
def test_its_files_are_rows(tmp_path: Path, kind: str) -> None:
    prompts = load_rows(SourceConfig(source=str(write(kind, 70, tmp_path))))
    assert len({prompt.id for prompt in prompts}) == 70
    assert {prompt.task for prompt in prompts} == {Task.TEXT if kind == "texts" else Task.UNDERSTAND}


def test_what_many_cost_beyond_few(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = iter([Cost(200, 10.0, 8.0, 500, None, 0), Cost(2000, 12.5, 9.5, 700, 738, 3)])
    monkeypatch.setattr(bulk_rows, "measure", lambda kind, count: next(costs))
    found = compare("texts", 200, 2000)
    assert (found["more_wall_s"], found["more_cpu_s"], found["more_peak_mb"]) == (2.5, 1.5, 200)


@pytest.mark.long
def test_a_small_run_of_each_kind_is_measured() -> None:
    for kind in bulk_rows.KINDS:
        cost = bulk_rows.measure(kind, 20)
        assert cost.rows == 20 and cost.cpu_s > 0 and cost.peak_mb > 100 and cost.decoded is None

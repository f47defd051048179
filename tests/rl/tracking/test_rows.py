"""Rows of an evaluation: every generation is on disk, as lines and as a table, while it goes on and afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from PIL import Image

from rl.tracking import rows as module
from rl.tracking.rows import COLUMNS, RowsWriter
from tests.rl.examples import draw_group, failed, score, text_group


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_row_is_kept_as_a_line_and_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TABLE_ROWS", 7)  # several row groups
    groups = [text_group(f"t{i}", score(1.0, correctness=1.0), failed()) for i in range(50)]
    groups += [draw_group(f"d{i}", score(0.5, clip=0.3)) for i in range(20)]
    with RowsWriter(tmp_path) as writer:
        for start in range(0, 70, 3):
            pictures = writer.write(groups[start : start + 3])
    found = lines(tmp_path / "rows.jsonl")
    assert len(found) == 120 and all(row.keys() == COLUMNS.keys() for row in found)
    assert [(row["id"], row["sample"]) for row in found[:3]] == [("sums/t0", 0), ("sums/t0", 1), ("sums/t1", 0)]
    assert found[0]["response"] == "<think>1+1=2</think>2" and found[0]["parts"] == {"correctness": 1.0}
    assert found[0]["tokens"] == 1 and found[0]["ended"] == "complete" and found[0]["seed"] == 0
    assert found[1]["score"] is None and found[1]["status"] == "timeout" and "deadline" in found[1]["detail"]
    with Image.open(tmp_path / found[-1]["image"]) as picture:
        assert picture.size == (8, 8) and picture.convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    assert pictures == [[found[-1]["image"]]] and len({row["image"] for row in found[100:]}) == 20
    table = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [{**row, "parts": json.loads(row["parts"])} for row in table] == found


def test_lines_are_whole_while_the_evaluation_goes_on_and_an_earlier_one_is_gone(tmp_path: Path) -> None:
    with RowsWriter(tmp_path) as writer:
        writer.write([draw_group("d", score(0.5))])
    with RowsWriter(tmp_path) as writer:
        assert not (tmp_path / "rows").exists() and not (tmp_path / "rows.parquet").exists()
        writer.write([text_group("a", score(1.0))])
        assert [row["id"] for row in lines(tmp_path / "rows.jsonl")] == ["sums/a"]
        writer.write([text_group("b", score(0.0))])
    assert len(lines(tmp_path / "rows.jsonl")) == 2


def test_an_evaluation_that_breaks_leaves_its_lines_and_no_half_table(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RowsWriter(tmp_path) as writer:
        writer.write([text_group("a", score(1.0))])
        raise KeyboardInterrupt
    assert len(lines(tmp_path / "rows.jsonl")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_an_evaluation_of_nothing_is_an_empty_table(tmp_path: Path) -> None:
    with RowsWriter(tmp_path):
        pass
    assert parquet.read_table(tmp_path / "rows.parquet").num_rows == 0 and lines(tmp_path / "rows.jsonl") == []

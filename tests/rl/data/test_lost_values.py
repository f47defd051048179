"""What a row would lose on its way in is one line: names that stand twice, numbers past a float, gaps, texts that nobody asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rewards.math.references import alternatives
from rl.config import SourceConfig
from rl.data.rows import load_rows
from rl.errors import DataError
from rl.types import Prompt
from tests.rl.data.formats import prompt


def load(folder: Path, text: str, kind: str = "jsonl", **settings: Any) -> tuple[Prompt, list[str]]:
    path, notes = folder / f"rows.{kind}", list[str]()
    path.write_text(text)
    return load_rows(SourceConfig(source=str(path), **settings), notes=notes)[0], notes


TWICE = [
    '{"question": "?", "answer": "5", "answer": "6"}',
    '{"question": "?", "question": "!", "answer": "6"}',
    '{"question": "?", "answer": "5", "answer": "5"}',
    '{"question": "?", "answer": {"x": 1, "x": 2}}',
    '{"question": "?", "answer": "5", "tests": [{"in": 1, "in": 1}]}',
    '{"id": 1, "question": "?", "answer": "5", "id": 2}',
    '{"question": "?", "answer": "5", "": 1, "": 2}',
    '{"question": "?", "answer": "5", "\\u0061nswer": "6"}',
    '{"messages": [{"role": "user", "role": "system", "content": "?"}], "answer": "5"}',
    '{"question": "?", "answer": "5", "a": {"b": {"c": 1, "c": null}}}',
]
PAST = [
    "1e400",
    "-1e400",
    "1e-400",
    "1.5E+999",
    "-2e-5000",
    "9" * 400 + ".0",
    "1e309",
    "0.1e-330",
    "[1e400]",
    '{"a": [1, 1e999]}',
]


@pytest.mark.parametrize("kind", ["jsonl", "json"])
@pytest.mark.parametrize("text", TWICE)
def test_a_name_that_stands_twice_is_refused(tmp_path: Path, text: str, kind: str) -> None:
    with pytest.raises(DataError, match=r"the name '\w*' stands twice in one object, .*; keep one$") as caught:
        load(tmp_path, text if kind == "jsonl" else f"[{text}]", kind)
    assert str(caught.value).startswith(str(tmp_path / f"rows.{kind}")) and "\n" not in str(caught.value)


@pytest.mark.parametrize("number", PAST)
@pytest.mark.parametrize("column", ["answer", "level"])
def test_a_number_that_a_float_is_not_is_refused(tmp_path: Path, number: str, column: str) -> None:
    with pytest.raises(DataError, match=r"line 1: no float can hold the number '.*; write it as a text$"):
        load(tmp_path, f'{{"question": "?", "{column}": {number}}}')


@pytest.mark.parametrize(
    "number", ["0.0", "0e999", "-0.0e-999", "1e308", "5e-324", "0.1", "1e22", '"1e400"', "1234567890123456789012"]
)
def test_other_numbers_stay(tmp_path: Path, number: str) -> None:
    found, _ = load(tmp_path, f'{{"question": "?", "answer": "5", "level": {number}}}')
    assert found.metadata["level"] == json.loads(number)


GAPS = [
    "[NaN, 1.0]",
    "[1.0, NaN]",
    "[null, 1]",
    "[1, null, 2]",
    "[true, null]",
    "[[NaN, 1], [2, 3]]",
    "[[1, 2], null]",
    "[0, NaN]",
    '[{"answer": 1}, null]',
    "[[1], [null]]",
]
WHOLE = [
    ('["a", null]', ["a"]),
    ('[null, "5", "five"]', ["5", "five"]),
    ("[1.0, 2.0]", ["[1.0, 2.0]", "1.0, 2.0"]),
    ("[[1, 2], [3, 4]]", ["[[1, 2], [3, 4]]"]),
    ('{"value": 5, "unit": null}', ["5"]),
    ('[5, "five", null]', ["5", "five"]),
    ("[7]", ["[7]", "7"]),
]


@pytest.mark.parametrize("text", GAPS)
def test_a_list_with_a_gap_is_no_shorter_list(tmp_path: Path, text: str) -> None:
    found, _ = load(tmp_path, f'{{"question": "?", "answer": {text}}}')
    assert "null" in str(found.reference)
    with pytest.raises(ValueError, match="a list with a gap"):
        alternatives(str(found.reference))


@pytest.mark.parametrize(("text", "named"), WHOLE)
def test_of_several_right_answers_one_may_be_missing(tmp_path: Path, text: str, named: list[str]) -> None:
    found, _ = load(tmp_path, f'{{"question": "?", "answer": {text}}}')
    assert alternatives(str(found.reference)) == named


def test_so_it_is_in_a_table(tmp_path: Path) -> None:
    found = prompt(tmp_path, "parquet", {"question": "?", "answer": [float("nan"), 1.0]})
    assert found.reference == "[null, 1.0]" and found.ground_truth == [None, 1.0]


BESIDE = [
    ({"prompt": "P", "question": "Q"}, "question beside prompt"),
    ({"question": "Q", "problem": "P"}, "problem beside question"),
    ({"messages": [{"role": "user", "content": "M"}], "prompt": "P"}, "prompt beside messages"),
    ({"prompt": [{"role": "user", "content": "P"}], "question": "Q"}, "question beside prompt"),
    ({"instruction": "Add.", "input": "2 and 3"}, "input beside instruction"),
    ({"question": "Q", "instruction": "In words."}, "instruction beside question"),
    ({"caption": "C", "problem": "P"}, "problem beside caption"),
    ({"prompt": "P", "question": "P"}, ""),
    ({"prompt": "Think. Q", "question": " Q "}, ""),
    ({"prompt": "P", "question": " "}, ""),
    ({"prompt": "P", "question": None}, ""),
    ({"question": "Q", "input": "x"}, ""),
    ({"question": "Q", "caption": "C"}, ""),
    ({"prompt": "P", "question": ["Q"]}, ""),
    ({"instruction": "Add 2 and 3.", "input": "2 and 3"}, ""),
    ({"question": "Q"}, ""),
]


@pytest.mark.parametrize(("row", "said"), BESIDE, ids=str)
def test_a_text_beside_the_message_that_nobody_asks_is_a_note(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    text = json.dumps({**row, "answer": "5"})
    _, notes = load(tmp_path, f"{text}\n{text}")
    assert [note for note in notes if said in note and "2 rows have" in note] if said else not notes
    joined, notes = load(tmp_path, text, args={"template": "whole"})
    assert joined.messages[0].content == "whole" and not notes


NUMBERS = [
    "pixel_values",
    "Pixel_Values",
    "pixel_values_videos",
    "image_features",
    "image_embeds",
    "image_embeddings",
    "image_latents",
    "vision_features",
    "vision_embeds",
    "image_grid_thw",
]


@pytest.mark.parametrize("column", NUMBERS)
def test_a_picture_as_numbers_is_one_line(tmp_path: Path, column: str) -> None:
    row = {"prompt": "What is it?", "answer": "5", column: [[[0.1, 0.2]]]}
    for task in ({}, {"task": "understand"}):
        with pytest.raises(DataError, match=f"row 1: column {column}: a picture as numbers for another model"):
            load(tmp_path, json.dumps({**row, **task}))
    for more in ({"task": "text"}, {column: None}, {column: []}):
        found, _ = load(tmp_path, json.dumps({**row, **more}))
        assert found.image is None and column in found.metadata

"""``unigrpo generate --prompts FILE --out FILE``: in order, in a file that goes on where it was cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cluster.cli.app import app
from cluster.evaluate import answers
from tests.toys import toy_folder

SMALL = {"max_new_tokens": 8, "block_length": 4, "steps": 4}
ROWS: list[dict[str, Any]] = [
    {"id": "a", "question": "1 + 1?"},
    {"question": "What is this?", "image": "red.png"},
    {"id": "c", "caption": "a red circle", "task": "draw"},
    {"id": "d", "prompt": [{"role": "user", "content": "2 + 2?"}], "anything": [1, 2]},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sampling = {"text": SMALL, "understand": SMALL, "draw": {"steps": 2}}
    (tmp_path / "recipe.yaml").write_text(json.dumps({"policy": {"path": str(toy_folder())}, "evaluation": sampling}))
    Image.fromarray(np.full((8, 8, 3), (255, 0, 0), np.uint8)).save(tmp_path / "red.png")
    write(tmp_path, ROWS)
    return tmp_path


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def generate(folder: Path, *args: str | Path) -> Result:
    fixed = ["generate", "--recipe", folder / "recipe.yaml", "--prompts", folder / "rows.jsonl"]
    return CliRunner().invoke(app, [str(word) for word in (*fixed, *args)])


def answered(folder: Path, *args: str | Path) -> list[dict[str, Any]]:
    result = generate(folder, "--out", folder / "out.jsonl", *args)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def refused(folder: Path, *args: str | Path) -> str:
    result = generate(folder, *args)
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1, result.output
    return result.stderr


def test_every_row_is_answered_in_order(folder: Path) -> None:
    lines = answered(folder, "--n", "2")
    assert [line["row"] for line in lines] == [1, 2, 3, 4]
    assert [line["id"] for line in lines] == ["a", f"{folder.name}/rows/1", "c", "d"]
    assert [line["task"] for line in lines] == ["text", "understand", "draw", "text"]
    assert all(len(line["answers"]) == len(line["status"]) == 2 for line in lines)
    assert lines[2]["images"] == ["out_images/000003-0.png", "out_images/000003-1.png"]
    assert all((folder / name).is_file() for name in lines[2]["images"]) and "images" not in lines[0]


def test_an_answer_does_not_depend_on_the_rows_around_it(folder: Path) -> None:
    whole = answered(folder)
    (folder / "out.jsonl").unlink()
    write(folder, ROWS[3:])
    (alone,) = answered(folder)
    assert {**whole[3], "row": 1} == alone


@pytest.mark.parametrize(("kept", "torn"), [(0, b'{"row": 1'), (1, b""), (3, b'{"row": 4, "id'), (4, b"{"), (4, b"")])
def test_it_goes_on_where_it_was_cut_off(folder: Path, kept: int, torn: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    answered(folder)
    out = folder / "out.jsonl"
    whole = out.read_bytes()
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:kept]) + torn)
    asked: list[int] = []
    line = answers._line
    monkeypatch.setattr(answers, "_line", lambda *args: (asked.append(args[1]), line(*args))[1])
    answered(folder)
    assert out.read_bytes() == whole and asked == [1, 2, 3, 4][kept:]


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("another question", {"id": "a", "question": "1 + 2?"}),
    ("another id", {"id": "z", "question": "1 + 1?"}),
    ("another task", {"id": "a", "question": "1 + 1?", "task": "draw"}),
    ("a system turn", {"id": "a", "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "?"}]}),
    ("a picture", {"id": "a", "question": "1 + 1?", "image": "red.png"}),
]  # fmt: skip


@pytest.mark.parametrize("row", [row for _, row in CHANGES], ids=[name for name, _ in CHANGES])
def test_answers_to_another_prompt_are_not_gone_on_from(folder: Path, row: dict[str, Any]) -> None:
    write(folder, ROWS[:1])
    before = answered(folder)
    write(folder, [row])
    line = refused(folder, "--out", folder / "out.jsonl")
    assert "line 1: answers" in line and "asks something else" in line and "give another --out" in line
    assert [json.loads(text) for text in (folder / "out.jsonl").read_text().splitlines()] == before


def test_another_picture_under_the_same_name_is_another_prompt(folder: Path) -> None:
    from rl.data import overlap

    write(folder, ROWS[1:2])
    answered(folder)
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(folder / "red.png")
    overlap._file_digest.cache_clear()
    assert "asks something else" in refused(folder, "--out", folder / "out.jsonl")


@pytest.mark.parametrize("setting", ["seed=5", "evaluation.text.steps=8", "--n 2"])
def test_answers_with_other_settings_are_not_gone_on_from(folder: Path, setting: str) -> None:
    write(folder, ROWS[:1])
    answered(folder)
    assert "other settings" in refused(folder, "--out", folder / "out.jsonl", *setting.split())


def test_a_file_of_other_things_is_left_alone(folder: Path) -> None:
    out = folder / "out.jsonl"
    for content, expected in (
        ("notes\n", "line 1: not a line of answers"),
        ("[1]\n", "line 1: not a line of answers"),
        ('{"a": 1}\n', "asks something else"),
    ):
        out.write_text(content)
        assert expected in refused(folder, "--out", out) and out.read_text() == content
    write(folder, ROWS[:2])
    out.unlink()
    answered(folder)
    write(folder, ROWS[:1])
    assert "line 2: " in (line := refused(folder, "--out", out)) and "has only 1 rows" in line


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "--prompts: needs --out FILE.jsonl"),
        (["--out", "answers.txt"], "--out answers.txt: allowed with --prompts: a name that ends in .jsonl"),
        (["--out", "none/answers.jsonl"], "no such folder"),
        (["What?", "--out", "o.jsonl"], "--prompts with the prompt 'What?'"),
        (["--out", "o.jsonl", "--image", "red.png"], "--prompts with --image"),
        (["--out", "o.jsonl", "--trace", "t.html"], "--prompts with --trace"),
        (["--out", "o.jsonl", "--task", "sing"], "--task sing: allowed: text"),
        (["--out", "o.jsonl", "--task", "understand"], "row 1: task understand without an image"),
        (["--out", "rows.jsonl"], "is the file of --prompts"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, args: list[str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert expected in refused(folder, *args)


def test_rows_that_cannot_be_answered_are_named_before_the_first_answer(folder: Path) -> None:
    write(folder, [*ROWS[:1], {"question": "x" * 5000}])
    assert "row 2: " in refused(folder, "--out", folder / "out.jsonl")
    write(folder, [*ROWS[:1], {"question": "What?", "image": "gone.png"}])
    assert "row 2: column image: " in refused(folder, "--out", folder / "out.jsonl")
    write(folder, [*ROWS[:1], {"text": "only a text"}])
    assert "plain text without a message" in refused(folder, "--out", folder / "out.jsonl")
    (folder / "rows.jsonl").write_text("")
    assert "empty" in refused(folder, "--out", folder / "out.jsonl")
    assert not (folder / "out.jsonl").exists()

"""``--dry-run``: every check, what would run, and nothing on disk or in another process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli.app import app
from policies.files.folders import find_policy
from policies.room import Room
from rl.types import Message, Prompt, Task

WIDTH = {"COLUMNS": "180"}


def invoke(*words: str):
    return CliRunner().invoke(app, list(words), env=WIDTH)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    found = tmp_path / "rows.jsonl"
    texts = ["1+1?", "What is the sum of the first ten odd numbers?" * 3, "2+2?"]
    found.write_text("".join(json.dumps({"prompt": text, "answer": "2"}) + "\n" for text in texts))
    return found


def words(tmp_path: Path, rows: Path, val: str) -> tuple[str, ...]:
    return (f"output_dir={tmp_path}/runs", f"data.train=[{{source: {rows}}}]", f"data.val={val}")


VAL = "[{source: chain_sum, split: val, limit: 5}]"


def test_what_would_run_is_printed_and_nothing_is_made(tmp_path, rows):
    found = invoke("train", "--dry-run", *words(tmp_path, rows, VAL))
    assert found.exit_code == 0, found.output
    said = found.stdout
    for part in (
        "2 x correctness",
        "rows.jsonl",
        "chain_sum",
        "1 learner ranks, 2 rollout workers",
        "240 steps",
        "GB a learner",
    ):
        assert part in said, said
    assert said.rstrip().endswith("Nothing was started.")
    assert not (tmp_path / "runs").exists()


def test_the_longest_row_is_counted_with_its_response(rows):
    room = Room(find_policy("tiny"))
    texts = [json.loads(line)["prompt"] for line in rows.read_text().splitlines()]
    prompts = [Prompt(str(at), Task.TEXT, (Message("user", text),)) for at, text in enumerate(texts)]
    by_hand = max(room._exactly(prompts)) + 7
    assert room.longest(prompts, lambda _: 7) == by_hand
    assert room.longest([], lambda _: 7) == 0


@pytest.mark.parametrize("command", ["sft", "eval"])
def test_the_other_commands(tmp_path, command):
    rows = [f"data.{split}=[{{source: sudoku4x4, split: {split}, limit: 5}}]" for split in ("train", "val")]
    found = invoke(command, "--dry-run", f"output_dir={tmp_path}/runs", "policy.path=tiny", *rows)
    assert found.exit_code == 0 and "Every check passed" in found.stdout, found.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("data.train=[{source: nowhere.jsonl}]", "nowhere.jsonl"),
        ("rewards.mix.text={nonsense: 1}", "nonsense"),
        ("learner.lr=-1", "learner.lr"),
        ("tracking.uri=localhost:5999", "tracking.uri"),
        ("policy.path=no_such_folder", "no_such_folder"),
    ],
)
def test_a_mistake_is_one_line_as_in_a_run(tmp_path, rows, wrong, said):
    found = invoke("train", "--dry-run", *words(tmp_path, rows, VAL), wrong)
    assert found.exit_code == 2 and said in found.stderr and found.stderr.count("\n") == 1, found.output


def test_a_folder_of_another_command_is_refused(tmp_path, rows):
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    (tmp_path / "runs" / "tiny" / "command").write_text("sft\n")
    found = invoke("train", "--dry-run", *words(tmp_path, rows, VAL))
    assert found.exit_code == 2 and "holds a run of `unigrpo sft`" in found.stderr


def test_submit_prints_what_it_would_send(tmp_path, rows):
    found = invoke("submit", "--dry-run", "--address", "http://127.0.0.1:9", *words(tmp_path, rows, VAL))
    assert found.exit_code == 0, found.output
    said = found.stdout + found.stderr
    assert str(rows) in said and "Nothing was sent." in said

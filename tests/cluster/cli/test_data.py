"""``unigrpo data``: what it prints of a preset, a file, a recipe, and of each mistake."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cluster.cli.app import app
from policies.files.folders import find_policy
from policies.room import Room
from rl.data.presets import load_preset, preset_names
from rl.types import Message, Prompt, Task
from tests.rl.data.test_presets import write


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_list_has_every_preset_with_its_licence() -> None:
    code, said = run("list")
    assert code == 0
    for name in preset_names():
        preset = load_preset(name)
        assert (
            re.search(rf"^{re.escape(name)}\s", said, re.MULTILINE) and preset.licence in said and preset.about in said
        )


def test_rows_are_shown_as_the_policy_sees_them(tmp_path: Path) -> None:
    code, said = run("show", "gsm8k", f"path={write(tmp_path, 'gsm8k')}", "--n", "1")
    assert code == 0, said
    assert "<|user|>Think first, between <think> and </think>." in said and "How many?<|assistant|>" in said
    assert "reference: 7" in said and "<think>3 + 4 = <<3+4=7>>7</think>7" in said and "licence: MIT" in said
    assert "correctness: 2, format: 0.5" in said and said.count("--- row") == 1
    tokens = re.search(r"task text; (\d+) tokens", said)
    assert tokens is not None
    message = load_preset("gsm8k").prompt(None)
    assert message is not None
    room = Room(find_policy("tiny"))
    text = message.replace("{question}", "Ann has 3 pears and buys 4. How many?")
    assert int(tokens[1]) == room.longest([Prompt("p", Task.TEXT, (Message("user", text),))], lambda _: 0)


def test_arguments_of_the_source_count(tmp_path: Path) -> None:
    folder = write(tmp_path, "countdown")
    code, said = run("show", "countdown", f"path={folder}", "args.prompt=published", "--n", "3")
    assert code == 0 and "Reach 5 with 2, 3 and 4." in said and said.count("--- row") == 1
    assert "note:" in said and "1 rows were left out" in said
    code, said = run("show", "countdown", f"path={folder}", "args.lengths={}", "args.prompt=published")
    assert code == 0 and said.count("--- row") == 2


def test_pictures_are_shown_by_their_size_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run("show", "clevr", f"path={write(tmp_path / 'clevr', 'clevr')}")
    assert code == 0, said
    assert "codes of a picture]" in said and "data_show/row_1.png, 16 x 12" in said
    assert Image.open(tmp_path / "data_show" / "row_1.png").size == (16, 12)
    assert np.asarray(Image.open(tmp_path / "data_show" / "row_1.png"))[0, 0].tolist() == [9, 90, 9]


def test_a_file_and_a_generator_are_shown_too(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "3 + 4?", "answer": 7, "level": {"name": "easy"}}) + "\n")
    code, said = run("show", str(rows))
    assert code == 0 and "<|user|>3 + 4?<|assistant|>" in said and "level: {'name': 'easy'}" in said
    code, said = run("show", "chain_sum", "args.size=5", "--n", "2")
    assert code == 0 and said.count("--- row") == 2


def test_all_sources_of_a_recipe_are_shown(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    folder = write(tmp_path, "gsm8k")
    sources = {"train": [{"source": "gsm8k", "path": str(folder)}], "val": [{"source": "chain_sum", "split": "val"}]}
    recipe.write_text(json.dumps({"name": "mine", "data": sources, "rollout": {"text": {"max_new_tokens": 480}}}))
    code, said = run("show", str(recipe), "--n", "1", "rollout.text.block_length=32", "rollout.text.steps=15")
    assert code == 0, said
    assert "data.train[0]: source gsm8k" in said and "data.val[0]: source chain_sum" in said
    assert "too long with a response of 480" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gsm8k", "pth=x"], "'pth=x': allowed: path=..., .*did you mean 'path'"),
        (["gsm8k", "path"], "'path': allowed"),
        (["gsm8"], "did you mean 'gsm8k'"),
        (["gsm8k", "path=gone"], "gone: no such file or folder"),
        (["gsm8k", "args={prompt"], "error: "),
        (["gsm8k", "path=gone", "--policy", "nobody"], "nobody"),
        (["gone.yaml"], "no such file: gone.yaml"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments: list[str], said: str) -> None:
    code, found = run("show", *arguments)
    assert code == 2 and re.search(said, found) and "Traceback" not in found and len(found.strip().splitlines()) == 1

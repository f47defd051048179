"""Fine-tuning's rows are measured with their worked answers, and their pictures looked at, before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cluster.run.preflight import Inputs, check
from policies import load_policy
from policies.files.fresh_policy import build, train_tokenizer
from policies.images.lfq import LFQConfig, LFQTokenizer
from rl.config import Config, load_config
from rl.errors import DataError
from rl.sft.examples import ExampleMaker
from rl.types import Task
from tests.cluster.cli.test_app import make_run, unigrpo
from tests.cluster.recipe import write_recipe
from tests.toys import toy_folder
from tests.wide import wide

LIMIT = 128  # of the toy
WORD = "12 "  # a token or more each


def make(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Config:
    """A recipe in a folder that is the current one."""
    path = write_recipe(folder, sft={"steps": 2, "batch_size": 2}, **settings)
    (folder / "train.jsonl").write_text("".join(json.dumps({"prompt": "2 + 3 =", **row}) + "\n" for row in rows))
    return load_config(str(path))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def measured(config: Config) -> Inputs:
    return check(config, needs_train=True, needs_val=False, answered=True)


@pytest.fixture(scope="module")
def policy():
    return load_policy(toy_folder())


def longest(policy: Any, config: Config, inputs: Inputs) -> int:
    """The longest example that fine-tuning makes of these rows, over 40 draws of each."""
    maker, rng = ExampleMaker(policy, config), np.random.default_rng(0)
    return max(len(maker.make(prompt, rng).token_ids) for prompt in inputs.all for _ in range(40))


ANSWERS = ["5", "so 5", ".", WORD, WORD * 5, WORD * 20, WORD * 30, "é" * 30, "\u0344" * 10, "<think>" * 20, "a\n" * 30, "😀" * 9,
           "the answer is 5. " * 3,
           "0123456789" * 8, "x" * 60, "ab cd " * 12, "=" * 50, "1+1=2;" * 10, "\t" * 40 + "5", "ÅÅ" * 15]  # fmt: skip


@pytest.mark.parametrize("canvas", [0.0, 1.0])
@pytest.mark.parametrize("answer", wide(ANSWERS, 3), ids=lambda answer: f"{answer[:5]!r}x{len(answer)}")
def test_an_answer_that_just_fits_passes_and_one_token_less_is_one_line(
    tmp_path: Path, policy, monkeypatch: pytest.MonkeyPatch, answer: str, canvas: float
) -> None:
    """What is measured is what is learned: the toy's length is set to just that."""
    config = make(tmp_path, [{"solution": answer}])
    config = load_config(
        "recipe.yaml", [f"sft.canvas_prob={canvas}", f"sft.eos_fill={'canvas' if len(answer) % 2 else 'block'}"]
    )
    inputs = measured(config)
    length = longest(policy, config, inputs)
    from policies.room import Room

    made = Room.__init__

    def limited(room: Room, folder: Path) -> None:
        made(room, folder)
        room.limit = limit

    monkeypatch.setattr(Room, "__init__", limited)
    limit = length
    assert len(measured(config).train[0]) == 1
    limit = length - 1
    with pytest.raises(
        DataError, match=rf"^train.jsonl: row 1: {length} tokens, \d+ of them its worked answer's, but .* takes"
    ) as e:
        measured(config)
    assert "\n" not in str(e.value)


def test_a_long_answer_is_found_before_the_start_dropped_or_its_prompt_cut(tmp_path: Path, capfd) -> None:
    rows = [
        {"id": "a", "solution": "5"},
        {"id": "b", "solution": WORD * 400},
        {"id": "c", "prompt": "x " * 400, "solution": "5"},
    ]
    with pytest.raises(
        DataError, match=r"^train.jsonl: row 2: .* worked answer's, .*\(2 of 3 rows of data.train\[0\] are too long"
    ):
        measured(make(tmp_path, rows))
    data = {"train": [{"source": "train.jsonl"}], "val": [{"source": "val.jsonl"}], "filter_overlong": "drop"}
    assert [prompt.id for prompt in measured(make(tmp_path, rows, data=data)).all] == ["a"]
    assert "2 of 3 rows of data.train[0] are too long for toy and were dropped" in capfd.readouterr().err
    with pytest.raises(DataError, match=r"^train.jsonl: row 2: .* cutting its longest turn does not do; drop the row"):
        measured(make(tmp_path, rows, data={**data, "filter_overlong": "truncate"}))
    cut = measured(make(tmp_path, [rows[0], rows[2]], data={**data, "filter_overlong": "truncate"}))
    assert len(cut.train[0][1].messages[0].content) < 300 and cut.train[0][1].solution == "5"


def test_reinforcement_does_not_measure_worked_answers(tmp_path: Path) -> None:
    rows = [{"solution": WORD * 400, "answer": "5"}]
    assert len(check(make(tmp_path, rows), needs_train=True, needs_val=False).train[0]) == 1


def test_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    make(tmp_path, [{"solution": WORD * 400}])
    result = unigrpo("sft", "--recipe", "recipe.yaml")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and "train.jsonl: row 1: " in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("size", [24, 32, 40, 56, 64])
def test_scenes_are_learned_at_any_size_of_picture(tmp_path: Path, size: int) -> None:
    config = load_config(make_run(tmp_path), [f"policy.path={with_pictures(tmp_path, size)}"])
    inputs = check(config, needs_train=True, needs_val=False, answered=True)
    maker, rng = ExampleMaker(load_policy(config.policy.path), config), np.random.default_rng(0)
    drawn = [maker.make(prompt, rng) for prompt in inputs.all if prompt.task is Task.DRAW]
    assert len(drawn) == 4 and all(example.scored.any() for example in drawn)


@pytest.mark.parametrize("size", [8, 16])
def test_a_picture_too_small_for_a_scene_is_one_line(tmp_path: Path, size: int) -> None:
    result = unigrpo("sft", "--recipe", make_run(tmp_path), f"policy.path={with_pictures(tmp_path, size)}")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert f"scenes are drawn on 24 pixels a side or more, and {tmp_path}" in result.stderr
    assert f"takes pictures of {size}; leave source scenes out" in result.stderr


def test_the_toys_32_pixels_go_through_a_whole_run(tmp_path: Path) -> None:
    quick = ("tracking.mlflow=false", "val_before_train=false", "val_after_train=false", "sft.steps=2")
    result = unigrpo("sft", "--recipe", make_run(tmp_path), *quick)
    assert result.exit_code == 0 and "draw loss" in result.stdout, result.output + result.stderr


def with_pictures(folder: Path, size: int) -> Path:
    torch.manual_seed(0)
    LFQTokenizer(LFQConfig(image_size=size, bits=6, width=16)).save(folder / "images")
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2, "mlp_hidden_size": 16}
    build(folder / "policy", train_tokenizer(["1 + 1 ="], 300), folder / "images", max_length=256, **sizes)
    return folder / "policy"


@pytest.mark.parametrize("picture", [None, "a.png", "nowhere.png", "broken.png"])
def test_a_row_that_draws_has_a_picture_that_opens(tmp_path: Path, picture: str | None) -> None:
    Image.new("RGB", (40, 40), (255, 0, 0)).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    row = {"task": "draw", "prompt": "a red square", **({} if picture is None else {"image": picture})}
    mix = {"draw": {"clip": 1.0}, "text": {"format": 1.0}}
    config = make(tmp_path, [row], rewards={"mix": mix})
    if picture == "a.png":
        assert len(measured(config).train[0]) == 1
    else:
        with pytest.raises(
            DataError, match=r"train.jsonl: (row|line) 1: |has no picture; sft needs a column image"
        ) as caught:
            measured(config)
        assert "\n" not in str(caught.value)

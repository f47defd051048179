"""A mapping of the user's own names is replaced where it is given as a whole, and changed where one entry is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.config import load_config
from rl.config.load import free_mappings
from rl.errors import ConfigError

RECIPE = """
rewards:
  mix: {text: {correctness: 2.0, format: 0.5}, draw: {composition: 1.0}}
  settings: {correctness: {deadline_s: 2.0}, length: {longest: 9, buffer: 3}}
learner: {task_weights: {text: 2.0, draw: 3.0}}
rollout: {n_samples_by_task: {text: 4}}
"""
MIX = {"text": {"correctness": 2.0, "format": 0.5}, "draw": {"composition": 1.0}}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE)
    return file


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], MIX),
        (["rewards.mix={text: {sudoku: 1.0}}"], {"text": {"sudoku": 1.0}}),
        (["rewards={mix: {text: {sudoku: 1.0}}}"], {"text": {"sudoku": 1.0}}),
        (["rewards.mix.text={sudoku: 1.0}"], {"text": {"sudoku": 1.0}, "draw": {"composition": 1.0}}),
        (["rewards.mix.text.sudoku=1.0"], {**MIX, "text": {**MIX["text"], "sudoku": 1.0}}),
        (["rewards.mix.text.format=0"], {**MIX, "text": {"correctness": 2.0, "format": 0.0}}),
        (["rewards.mix.understand={format: 1.0}"], {**MIX, "understand": {"format": 1.0}}),
        (["rewards.mix={text: {sudoku: 1}}", "rewards.mix.text.format=1"], {"text": {"sudoku": 1.0, "format": 1.0}}),
        (["rewards.mix.text.format=9", "rewards.mix={draw: {ocr: 1}}"], {"draw": {"ocr": 1.0}}),
        (["rewards.mix.text.format=1", "learner.task_weights={text: 1}"], {**MIX, "text": {"correctness": 2.0, "format": 1.0}}),
    ],
)  # fmt: skip
def test_the_mix_is_what_was_typed(recipe: Path, overrides: list[str], expected: dict) -> None:
    assert load_config(recipe, overrides).rewards.mix == expected


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("learner.task_weights={text: 1}", lambda config: config.learner.task_weights, {"text": 1.0}),
        ("learner.task_weights.text=1", lambda config: config.learner.task_weights, {"text": 1.0, "draw": 3.0}),
        ("rollout.n_samples_by_task={}", lambda config: config.rollout.n_samples_by_task, {}),
        ("rewards.settings={}", lambda config: config.rewards.settings, {}),
        (
            "rewards.settings.length={longest: 5}",
            lambda config: config.rewards.settings,
            {"correctness": {"deadline_s": 2.0}, "length": {"longest": 5}},
        ),
        (
            "evaluation.mix={text: {format: 1}}",
            lambda config: config.evaluation.mix,
            {"text": {"format": 1.0}},
        ),
    ],
)
def test_one_rule_for_every_such_mapping(recipe: Path, override: str, read, expected: dict) -> None:
    assert read(load_config(recipe, [override])) == expected


# Recipe's YAML over the defaults, overrides, and the mix of text that is trained.
TYPED = (
    ("", ["rewards.mix={text: {tags: 1.0}}"], {"tags": 1.0}),
    ("", ["rewards.mix={text:{tags:1.0}}"], None),  # no blank behind the colon: YAML reads a name, one line says so
    ("", ["rewards.mix.text={tags: 1.0}"], {"tags": 1.0}),
    ("", ["rewards.mix.text={}"], None),
    (
        "",
        ["rewards.mix.text.tags=1.0", "rewards.mix.text.correctness=0"],
        {"correctness": 0.0, "format": 0.5, "tags": 1.0},
    ),
    ("", ["rewards={mix: {text: {tags: 2}}, scorers: []}"], {"tags": 2.0}),
    ("rewards: {mix: {text: {tags: 1}}}", [], {"tags": 1.0}),
    ("rewards: {mix: {text: {tags: 1}}}", ["rewards.mix.text.format=1"], {"tags": 1.0, "format": 1.0}),
    ("rewards: {mix: {text: {tags: 1}}}", ["rewards.mix={text: {format: 1}}"], {"format": 1.0}),
    ("rewards: {mix: {text: {tags: 1}}}", ["rewards.mix.draw={clip: 1}"], {"tags": 1.0}),
    ("rewards: {mix: {draw: {clip: 1}}}", [], None),
    ("rewards: {mix: {draw: {clip: 1}}}", ["rewards.mix.text={tags: 1}"], {"tags": 1.0}),
    ("rewards: {mix: {text: {}}}", ["rewards.mix.text.tags=3"], {"tags": 3.0}),
    ("rewards: {scorers: []}", [], {"correctness": 2.0, "format": 0.5}),
    ("rewards: {normalize: [format]}", ["rewards.mix={text: {format: 1}}"], {"format": 1.0}),
    ("steps: 5", ["rewards.mix={text: {a: 1, b: 2}}", "rewards.mix={text: {b: 3}}"], {"b": 3.0}),
    (
        "steps: 5",
        ["rewards.mix={text: {a: 1}}", "rewards.mix.text={b: 3}", "rewards.mix.text.c=0.5"],
        {"b": 3.0, "c": 0.5},
    ),
    ("steps: 5", ["rewards.mix.text={b: 3}", "rewards.mix.text={c: 3}"], {"c": 3.0}),
    ("steps: 5", ["rewards.mix.text={b: 3}", "rewards.mix.understand={c: 3}"], {"b": 3.0}),
    ("evaluation: {mix: {text: {tags: 1}}}", ["rewards.mix.text={tags: 1}"], {"tags": 1.0}),
)


@pytest.mark.parametrize(("text", "overrides", "expected"), TYPED)
def test_only_what_was_typed_is_trained(tmp_path: Path, text: str, overrides: list[str], expected: dict | None) -> None:
    """Never a reward of the defaults or of the recipe that the last whole mapping leaves out."""
    file = tmp_path / "mine.yaml"
    file.write_text(f"{text or 'steps: 3'}\n")
    try:
        found = load_config(file, overrides).rewards.mix.get("text")
    except ConfigError as error:
        assert expected is None and "\n" not in str(error)
    else:
        assert found == expected


def test_a_file_and_an_override_follow_the_same_rule(tmp_path: Path) -> None:
    """The defaults' mix has three tasks; a recipe that gives a mix leaves none of them."""
    file = tmp_path / "only.yaml"
    file.write_text("rewards: {mix: {text: {sudoku: 1.0}}}\n")
    empty = tmp_path / "empty.yaml"
    empty.write_text("steps: 3\n")
    assert load_config(file).rewards.mix == load_config(empty, ["rewards.mix={text: {sudoku: 1.0}}"]).rewards.mix
    assert set(load_config(empty).rewards.mix) == {"text", "understand", "draw"}


def test_every_mapping_of_free_names_is_known() -> None:
    assert {"rewards.mix", "evaluation.mix", "learner.task_weights", "custom_reward_function.reward_kwargs"} <= set(
        free_mappings()
    )

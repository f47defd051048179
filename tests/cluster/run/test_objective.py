"""What will be trained is said in words, and so is what was given and will not be used."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.run.objective import in_words
from rl.config import build_config
from rl.types import Message, Prompt, Task


def row(task: str = "text", reference: str | None = "5", rewards: tuple[str, ...] = ()) -> Prompt:
    return Prompt(f"{task}/{rewards}", Task(task), (Message("user", "2 + 3?"),), reference=reference, rewards=rewards)


def words(layer: dict[str, Any], *rows: Prompt) -> list[str]:
    return in_words(build_config([("test", layer)]), [rows or (row(),)])


@pytest.mark.parametrize(
    ("mix", "rewards", "expected"),
    [
        ({"correctness": 1.0}, {}, "text: 1 x correctness, at most 1"),
        ({"correctness": 2.0, "format": 0.5}, {}, "text: 2 x correctness + 0.5 x format, at most 2.5"),
        ({"correctness": 1.0, "length": 1.0}, {}, "text: 1 x correctness + 1 x length, at most 1"),
        ({"correctness": 1.0, "format": 0.0}, {}, "text: 1 x correctness, at most 1; recorded only: format"),
        (
            {"correctness": 1.0, "repetition": -1.0},
            {},
            "text: 1 x correctness + -1 x repetition (no largest value: repetition)",
        ),
        ({"format": 1.0}, {"curves": {"format": {"scale": 3.0}}}, "text: 1 x format, at most 3"),
        ({"format": 1.0}, {"curves": {"format": {"scale": 3.0, "high": 2.0}}}, "text: 1 x format, at most 2"),
        ({"format": 1.0}, {"curves": {"format": {"scale": -1.0}}}, "text: 1 x format (no largest value: format)"),
        ({"format": 1.0}, {"normalize": ["format"]}, "text: 1 x format (no largest value: format)"),
    ],
)
def test_a_tasks_rewards_and_their_largest_sum(mix: dict, rewards: dict, expected: str) -> None:
    assert words({"rewards": {"mix": {"text": mix}, **rewards}}, row(reference=None))[0] == expected


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        ({"custom": 1.0}, "text: 1 x custom (no largest value: custom)"),
        ({"custom": 1.0, "correctness": 2.0, "sudoku_cells": 2.0},
         "text: 1 x custom + 2 x correctness + 2 x sudoku_cells (no largest value: custom)"),
        ({"sudoku": 0.25}, "text: 0.25 x sudoku, at most 0.25"),
        ({"sudoku_cells": 3.0, "format": 1.5}, "text: 3 x sudoku_cells + 1.5 x format, at most 4.5"),
        ({"length": 2.0}, "text: 2 x length, at most 0"),
        ({"repetition": 1.0, "language": 1.0}, "text: 1 x repetition + 1 x language, at most 2"),
        ({"tags": 0.1, "format": 0.1}, "text: 0.1 x tags + 0.1 x format, at most 0.2"),
        ({"custom": 0.5, "format": 1.0, "tags": 0.0},
         "text: 0.5 x custom + 1 x format (no largest value: custom); recorded only: tags"),
        ({"code": 1.0, "format": 0.0, "tags": 0.0}, "text: 1 x code, at most 1; recorded only: format, tags"),
        ({"length": 0.5, "repetition": 0.5}, "text: 0.5 x length + 0.5 x repetition, at most 0.5"),
        ({"correctness": -1.0}, "text: -1 x correctness (no largest value: correctness)"),
        ({"reasoning_gym": 1e-3}, "text: 0.001 x reasoning_gym, at most 0.001"),
    ],
)  # fmt: skip
def test_any_mix_in_one_line(mix: dict, expected: str) -> None:
    layer = {"rewards": {"mix": {"text": mix}}, "custom_reward_function": {"path": "mine.py"}}
    assert words(layer, row(reference=None))[0] == expected


def test_a_reward_without_a_bound_is_named() -> None:
    (line, *_) = words({"rewards": {"mix": {"draw": {"clip": 0.1, "composition": 1.0}}}}, row("draw"))
    assert line == "draw: 0.1 x clip + 1 x composition (no largest value: clip)"


@pytest.mark.parametrize(
    ("learner", "said"),
    [
        ({}, "loss: unigrpo, estimator masked, schedule stratified, 4 inner updates"),
        ({"algorithm": {"objective": "wd1", "estimator": "elbo"}}, "loss: wd1, estimator elbo, 4 inner updates"),
        ({"algorithm": {"kl_coef": 0.0}}, "no reference policy (kl_coef 0)"),
        ({"lora": {"rank": 8}}, "KL 0.01 to the policy without its adapter; trains a LoRA adapter of rank 8"),
        ({"reference_sync_freq": 50}, "a copy of the policy, renewed every 50 steps; trains all weights"),
    ],
)
def test_the_loss(learner: dict, said: str) -> None:
    line = next(line for line in words({"learner": learner}) if line.startswith("loss: "))
    assert said in line


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            {"rewards": {"mix": {"text": {"format": 1.0}, "draw": {"clip": 1.0}}}},
            "rewards.mix.draw: data.train has no rows",
        ),
        ({"learner": {"task_weights": {"draw": 2.0}}}, "learner.task_weights.draw: data.train has no rows"),
        ({"rewards": {"mix": {"text": {"format": 1.0, "tags": 1.0}}}}, "the references of 1 rows of text"),
    ],
)
def test_what_is_given_and_not_used(layer: dict, said: str) -> None:
    assert any(line.startswith(f"not used: {said}") for line in words(layer))


def test_nothing_is_said_where_all_is_used() -> None:
    mix = {"text": {"correctness": 1.0}, "draw": {"clip": 1.0}}
    found = words({"rewards": {"mix": mix}, "learner": {"task_weights": {"draw": 2.0}}}, row(), row("draw"))
    assert [line.split(":")[0] for line in found] == ["text", "draw", "loss"]


def test_rows_with_rewards_of_their_own_are_said() -> None:
    found = words({"rewards": {"mix": {"text": {"format": 1.0}}}}, row(rewards=("sudoku",)))
    assert found[0] == "rows that name their own rewards: sudoku, with the weights of their task's mix, or 1"

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
    assert found[0] == "text, rows that name their own rewards: 1 x sudoku, at most 1"
    assert found[-1] == "not used: rewards.mix.text: each row of this task names other rewards"
    weighed = words({"rewards": {"mix": {"text": {"format": 3.0}}}}, row(rewards=("format", "sudoku")))
    assert weighed[0] == "text, rows that name their own rewards: 3 x format + 1 x sudoku, at most 4"
    assert not [line for line in weighed if line.startswith("not used")]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ({"custom_reward_function": {"path": "mine.py"}}, "custom_reward_function (mine.py): no mix names custom"),
        ({"custom_reward_function": {"url": "http://h:1/x"}}, "custom_reward_function (its url): no mix names custom"),
        ({"learner": {"lora": {"alpha": 8.0}}}, "learner.lora: its rank is 0, so all weights are trained"),
        ({"learner": {"lora": {"target": ["q_proj"]}}}, "learner.lora: its rank is 0, so all weights are trained"),
    ],
)
def test_a_function_or_an_adapter_that_is_not_used_is_said(layer: dict[str, Any], expected: str) -> None:
    mix = {"mix": {"text": {"correctness": 1.0}}}
    assert f"not used: {expected}" in words({"rewards": mix, "evaluation": mix, **layer})
    lora = {"rank": 2, "alpha": 8.0}
    custom = {"rewards": {"mix": {"text": {"custom": 1.0}}}, "custom_reward_function": {"path": "mine.py"}}
    used = words({**custom, "learner": {"lora": lora}}, row(reference=None))
    assert not [line for line in used if line.startswith("not used")]


def test_what_was_typed_for_a_part_that_the_run_has_not() -> None:
    config = build_config([("test", {"cluster": {"mode": "inline"}, "tracking": {"mlflow": False}})])
    typed = ["rollout.draw.steps=4", "rollout.text.steps=8", "tracking.uri=x", "cluster.rollout_workers=4", "steps=1"]
    found = [line.removeprefix("not used: ").split(":")[0] for line in in_words(config, [(row(),)], typed)[-3:]]
    assert found == ["rollout.draw.steps", "tracking.uri", "cluster.rollout_workers"]

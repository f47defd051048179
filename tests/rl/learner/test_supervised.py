"""Rows with worked answers beside the rollouts of an update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rl.config import Config, LearnerConfig, RolloutConfig
from rl.learner.supervised import shares
from rl.learner.update import UniGRPOLearner
from rl.prepare import prepare
from rl.seeds import derive_seed
from rl.sft.supervised import SupervisedRows
from rl.types import Prompt, TrainBatch
from tests.rl.learner.test_update import IMAGE, SETTINGS, TEXT, Recorder, assert_same_gradients, groups
from tests.toys import toy_policy, toy_text_prompt

COEF = 0.3
SUPERVISED = replace(SETTINGS, sft_rows=3, sft_coef=COEF, algorithm=replace(SETTINGS.algorithm, kl_coef=0.0))
ROWS = tuple(
    replace(toy_text_prompt(index), solution=f"<think>{index}+1</think>{'7' * (1 + index)}") for index in range(3)
)


def config(learner: LearnerConfig = SUPERVISED) -> Config:
    return Config(learner=learner, rollout=RolloutConfig(text=TEXT, understand=TEXT, draw=IMAGE))


def batch_of(rows: Sequence[Prompt], learner: LearnerConfig = SUPERVISED) -> TrainBatch:
    return replace(prepare(groups(), config(learner), 0), supervised=tuple(rows), supervised_seed=5)


def recorded(
    batch: TrainBatch, learner: LearnerConfig = SUPERVISED, rank: int = 0, world_size: int = 1
) -> tuple[Recorder, dict[str, float]]:
    policy = toy_policy()
    engine = Recorder(policy, learner, rank, world_size)
    of = UniGRPOLearner(policy, engine, learner, supervised=SupervisedRows(policy, config(learner)))
    return engine, dict(of.update(batch).metrics)


def cross_entropy(rows: Sequence[Prompt], n: int) -> list[Tensor]:
    """The gradient of the mean of the rows' losses, each by itself, under inner update n's draws."""
    policy = toy_policy()
    supervised = SupervisedRows(policy, config())
    losses = [supervised.loss([row], [1.0], derive_seed(5, n)) for row in rows]
    torch.stack(losses).mean().backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in policy.module.parameters()]


def test_their_loss_is_added_with_its_weight() -> None:
    without, metrics = recorded(batch_of(()))
    beside, theirs = recorded(batch_of(ROWS))
    added = [
        [ours + COEF * more for ours, more in zip(gradients, cross_entropy(ROWS, n), strict=True)]
        for n, gradients in enumerate(without.gradients)
    ]
    assert_same_gradients(beside.gradients, added)
    assert "actor/sft_loss" not in metrics and theirs["actor/sft_loss"] > 0
    assert "actor/kl_loss" not in theirs and theirs["timing_s/ref"] < 0.1 * theirs["timing_s/learner"] + 0.1
    for name in ("actor/pg_loss", "actor/entropy"):
        assert theirs[name] == pytest.approx(metrics[name], rel=1e-6)
    first, second = (cross_entropy(ROWS, n) for n in range(2))
    assert any(not torch.equal(a, b) for a, b in zip(first, second, strict=True))  # each update hides other tokens


@pytest.mark.parametrize("micro", [1, 2, 100])
@pytest.mark.parametrize("ranks", [1, 2])
def test_micro_batches_and_ranks_do_not_matter(micro: int, ranks: int) -> None:
    expected, _ = recorded(batch_of(ROWS))
    learner = replace(SUPERVISED, micro_batch_size_per_gpu=micro)
    parts = [recorded(batch_of(ROWS, learner), learner, rank, ranks)[0] for rank in range(ranks)]
    assert len({part.backwards for part in parts}) == 1
    summed = [
        [torch.stack(gradients).sum(0) for gradients in zip(*of_update, strict=True)]
        for of_update in zip(*(part.gradients for part in parts), strict=True)
    ]
    assert_same_gradients(summed, expected.gradients)


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_every_row_is_learned_once_and_all_ranks_make_the_same_passes(
    count: int, parts: int, ranks: int, size: int
) -> None:
    rows = [toy_text_prompt(index) for index in range(count)]
    for part in range(parts):
        plans = [shares(rows, part, parts, rank, ranks, size) for rank in range(ranks)]
        assert len({tuple(len(chosen) for chosen, _ in plan) for plan in plans}) == 1
        entries = [entry for plan in plans for chosen, weights in plan for entry in zip(chosen, weights, strict=True)]
        counted = [row.id for row, weight in entries if weight > 0]
        assert sorted(counted) == sorted(row.id for row in rows[part::parts])
        assert sum(weight for _, weight in entries) == pytest.approx(1.0 if counted else 0.0)


def test_rows_are_some_of_the_steps_prompts_that_have_a_worked_answer() -> None:
    worked = tuple(
        replace(group, prompt=replace(group.prompt, solution="<think>a</think>b"))
        if group.prompt.task != "draw"
        else group
        for group in groups()
    )
    ids = {group.prompt.id for group in worked if group.prompt.task != "draw"}
    assert {row.id for row in prepare(worked, config(), 0).supervised} == ids
    one = replace(SUPERVISED, sft_rows=1)
    found = [prepare(worked, config(one), step) for step in range(20)]
    assert all(len(batch.supervised) == 1 for batch in found)
    assert {batch.supervised[0].id for batch in found} == ids
    assert len({batch.supervised_seed for batch in found}) == 20
    assert prepare(worked, config(one), 3).supervised == found[3].supervised
    assert prepare(groups(), config(), 0).supervised == ()
    assert prepare(worked, config(SETTINGS), 0).supervised == ()


def test_what_is_hidden_of_a_row_depends_on_the_row_alone() -> None:
    supervised = SupervisedRows(toy_policy(), config())
    with torch.no_grad():
        alone = [float(supervised.loss([row], [1.0], 5)) for row in ROWS]
        together = float(supervised.loss(ROWS, [0.2, 0.3, 0.5], 5))
    assert together == pytest.approx(np.dot(alone, [0.2, 0.3, 0.5]), rel=1e-5)

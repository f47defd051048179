"""On-policy, the first inner update needs no pass before it: its own log-probs are the old ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rl.config import LearnerConfig, UniGRPOConfig
from rl.learner import update
from rl.learner.update import UniGRPOLearner
from tests.rl.learner.test_update import SETTINGS, assert_same_weights, count_passes, make_batch, make_learner


def taught(monkeypatch: pytest.MonkeyPatch, settings: LearnerConfig) -> tuple[UniGRPOLearner, UniGRPOLearner]:
    """After one step: a learner as it is, and one with a pass of its own for every old log-prob."""
    own, apart = make_learner(settings), make_learner(settings)
    with monkeypatch.context() as patch:
        patch.setattr(update, "same_masks", lambda data: 0)
        apart.update(make_batch(0, settings))
    own.update(make_batch(0, settings))
    return own, apart


@pytest.mark.parametrize("schedule", ["stratified", "full"])
@pytest.mark.parametrize("objective", ["unigrpo", "gdsd", "stabledrl"])
@pytest.mark.parametrize("mini", [None, 3])
def test_the_first_updates_own_log_probs_are_the_old_ones(
    monkeypatch: pytest.MonkeyPatch, schedule: str, objective: str, mini: int | None
) -> None:
    """As with a pass of its own for them: the same bits."""
    algorithm = UniGRPOConfig(mu=3, kl_coef=0.05, schedule=schedule, objective=objective)
    assert_same_weights(*taught(monkeypatch, replace(SETTINGS, algorithm=algorithm, mini_batch_size=mini)))


def test_so_they_are_where_the_head_runs_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """There an update's log-probs and those of a pass without gradients are made in two ways, and may round differently."""
    algorithm = UniGRPOConfig(mu=3, kl_coef=0.05, schedule="full")
    settings = replace(SETTINGS, algorithm=algorithm, micro_batch_size_per_gpu=2, logits_mib=0.001)
    assert_same_weights(*taught(monkeypatch, settings), 1e-6)


def test_stale_rollouts_get_a_pass_of_their_own() -> None:
    learner = make_learner(replace(SETTINGS, micro_batch_size_per_gpu=100))
    passes = count_passes(learner)
    metrics = learner.update(replace(make_batch(), on_policy=False)).metrics
    assert passes == [2 + 2, 2] and "actor/first_ratio_error" not in metrics


def test_the_first_ratio_is_checked_again_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "CHECK_EVERY", 3)
    learner = make_learner()
    checked = ["actor/first_ratio_error" in learner.update(make_batch(step)).metrics for step in range(7)]
    assert checked == [True, False, False, True, False, False, True]

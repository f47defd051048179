"""On-policy, the first inner update needs no pass before it: its own log-probs are the old ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rl.config import UniGRPOConfig
from rl.learner import update
from tests.rl.learner.test_update import SETTINGS, assert_same_weights, count_passes, make_batch, make_learner


@pytest.mark.parametrize("schedule", ["stratified", "full"])
@pytest.mark.parametrize("objective", ["unigrpo", "gdsd", "stabledrl"])
@pytest.mark.parametrize(
    "more", [{}, {"mini_batch_size": 3}, {"micro_batch_size_per_gpu": 2, "logits_mib": 0.001}], ids=str
)
def test_the_first_updates_own_log_probs_are_the_old_ones(
    monkeypatch: pytest.MonkeyPatch, schedule: str, objective: str, more: dict
) -> None:
    """As with a pass of its own for them: the same bits. Of a chunked head the two passes differ in rounding."""
    algorithm = UniGRPOConfig(mu=3, kl_coef=0.05, schedule=schedule, objective=objective)
    settings = replace(SETTINGS, algorithm=algorithm, **more)
    own, apart = make_learner(settings), make_learner(settings)
    with monkeypatch.context() as patch:
        patch.setattr(update, "same_masks", lambda data: 0)
        apart.update(make_batch(0, settings))
    own.update(make_batch(0, settings))
    assert_same_weights(own, apart, 1e-6 if "logits_mib" in more else 0.0)


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

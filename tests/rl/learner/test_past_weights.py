"""Truncated importance weights for rollouts that older weights sampled: the equation, and the learner's own passes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rl.config import UniGRPOConfig
from rl.errors import TrainingError
from rl.learner.engine import TorchEngine
from rl.learner.update import UniGRPOLearner
from rl.losses import unigrpo
from rl.types import TrainBatch
from tests.rl.learner.test_update import SETTINGS, assert_same_weights, make_batch, make_learner
from tests.toys import toy_policy

CAP = 1.5


def inputs(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(seed)
    values = {name: torch.tensor(-generator.exponential(1.0, (3, 4))) for name in ("logp", "old", "behavior")}
    mask = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]]).bool()
    return {**values, "mask": mask, "advantages": torch.tensor(generator.normal(size=3))}


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_the_equation_and_its_gradient(level: str) -> None:
    """mean over rollouts of 1/M sum over masked t of -min(exp(old - behavior), C) * min(r A, clip(r) A)."""
    config = UniGRPOConfig(kl_coef=0.0, importance_cap=CAP, importance_level=level, clip_low=0.2, clip_high=0.3)
    given = inputs()
    logp = given["logp"].clone().requires_grad_()
    lengths = torch.tensor([4, 2, 4])
    output = unigrpo(
        logp, given["old"], None, given["advantages"], given["mask"], config, lengths=lengths,
        behavior_logp=given["behavior"],
    )  # fmt: skip
    loss, capped, weights = 0.0, 0.0, 0.0
    slopes = torch.zeros_like(given["logp"])
    for i in range(3):
        places = [t for t in range(4) if given["mask"][i, t]]
        gaps = [float(given["old"][i, t] - given["behavior"][i, t]) for t in places]
        advantage = float(given["advantages"][i])
        for t, gap in zip(places, gaps, strict=True):
            weight = min(math.exp(gap if level == "token" else sum(gaps) / len(places)), CAP)
            ratio = math.exp(float(given["logp"][i, t] - given["old"][i, t]))
            clipped = min(max(ratio, 0.8), 1.3)
            share = 1 / (3 * len(places))
            loss -= share * weight * min(ratio * advantage, clipped * advantage)
            if ratio * advantage <= clipped * advantage:
                slopes[i, t] = -share * weight * ratio * advantage
            weights, capped = weights + share * weight, capped + share * (weight == CAP)
    output.loss.backward()
    assert float(output.loss.detach()) == pytest.approx(loss, abs=1e-12)
    torch.testing.assert_close(logp.grad, slopes, rtol=0, atol=1e-12)
    assert float(output.metrics["actor/importance_mean"]) == pytest.approx(weights, abs=1e-12)
    assert float(output.metrics["actor/importance_capped"]) == pytest.approx(capped, abs=1e-12)
    assert 0 < capped < 1


def test_nothing_is_corrected_where_it_was_sampled_now() -> None:
    given, config = inputs(), UniGRPOConfig(kl_coef=0.0, importance_cap=CAP)
    arguments = (given["logp"], given["old"], None, given["advantages"], given["mask"])
    plain, corrected = unigrpo(*arguments, config), unigrpo(*arguments, config, behavior_logp=given["old"])
    assert torch.equal(plain.loss, corrected.loss)
    assert float(corrected.metrics["actor/importance_mean"]) == pytest.approx(1.0)
    assert "actor/importance_mean" not in plain.metrics
    off = replace(config, importance_cap=None)
    assert torch.equal(unigrpo(*arguments, off, behavior_logp=given["behavior"]).loss, plain.loss)


CORRECTING = replace(
    SETTINGS, algorithm=UniGRPOConfig(mu=2, kl_coef=0.05, importance_cap=CAP, importance_versions=2), lr=3e-2
)


def stale(batch: TrainBatch, *ages: int) -> TrainBatch:
    """The batch's three groups, sampled so many versions ago."""
    return replace(batch, staleness=np.repeat(np.array(ages), 3), on_policy=not any(ages))


def test_the_learner_takes_log_probs_with_the_weights_that_sampled() -> None:
    learner = make_learner(CORRECTING)
    batch, seen = make_batch(5, CORRECTING), []
    for step in range(2):
        seen.append(learner.weights())
        learner.update(make_batch(step, CORRECTING))
    now = learner.weights()
    assert learner.past is not None
    learner.past.remember()
    minis = [learner._collate(batch, range(len(batch)))]
    stale_batch = stale(batch, 0, 1, 2)
    minis = [learner._collate(stale_batch, range(len(batch)))]
    with torch.no_grad():
        old = learner._log_probs(learner.policy, minis)
    found = learner._behavior(stale_batch, minis, old)
    assert found is not None
    assert all(np.array_equal(value, now[name]) for name, value in learner.weights().items())  # as it was before
    for age, weights in ((0, now), (1, seen[1]), (2, seen[0])):
        policy = toy_policy()
        policy.module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        expected = learner._log_probs(policy, minis)
        for data, values, targets in zip(minis[0], found[0], expected[0], strict=True):
            rows = data.staleness == age
            torch.testing.assert_close(
                values[:, rows], torch.stack([each for each in targets if each is not None])[:, rows], rtol=0, atol=1e-6
            )
    assert sum(int((data.staleness == 2).sum()) for data in minis[0]) == 3


def test_a_stale_step_is_measured_and_a_fresh_one_is_as_without() -> None:
    correcting, plain = make_learner(CORRECTING), make_learner(replace(SETTINGS, lr=CORRECTING.lr))
    first = stale(make_batch(0, CORRECTING), 0, 0, 0)
    reports = [learner.update(first) for learner in (correcting, plain)]
    assert_same_weights(correcting, plain)
    assert "actor/importance_mean" not in reports[0].metrics and reports[0].metrics["staleness/mean"] == 0
    second = correcting.update(stale(make_batch(1, CORRECTING), 0, 1, 1))
    assert second.metrics["staleness/max"] == 1 and second.metrics["staleness/mean"] == pytest.approx(2 / 3)
    assert second.metrics["actor/importance_mean"] != 1 and 0 <= second.metrics["actor/importance_capped"] < 1


def test_weights_that_are_gone_are_told() -> None:
    policy = toy_policy()
    learner = UniGRPOLearner(policy, TorchEngine(policy.module, CORRECTING, 100), CORRECTING)
    with pytest.raises(
        TrainingError, match="1 weight versions old, and 0 past ones are kept: raise .*importance_versions"
    ):
        learner.update(stale(make_batch(0, CORRECTING), 0, 0, 1))

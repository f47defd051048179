"""Credit by the order of revealing: its rule by hand, and its gradients against the written equations in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rl.config import UniGRPOConfig
from rl.learner.microbatches import collate
from rl.objectives.base import Terms
from rl.objectives.credit import credit_of
from rl.types import MaskDraw, Modality, Span, Task, TrainBatch
from tests.rl.test_objectives import assert_written, configs, divisor, random_terms, written_kl

# Three of eight are structure, and count twice; half of the second step is.
GOLDEN = [16 / 11, 16 / 11, 12 / 11, 8 / 11, 12 / 11, 8 / 11, 8 / 11, 8 / 11]


def with_credit(seed: int) -> Terms:
    terms = random_terms(seed)
    credit = np.random.default_rng(seed + 1).uniform(0.2, 3.0, terms.logp.shape)
    return replace(terms, credit=torch.tensor(credit))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), configs())
def test_token_ratios_with_credit(seed: int, config: UniGRPOConfig) -> None:
    """1/M_i sum_t [-min(r_t w_t A, clip(r_t) w_t A) + beta KL_t]: the KL has no credit."""
    terms = with_credit(seed)
    assert terms.old_logp is not None and terms.credit is not None
    ratio, credit = (terms.logp - terms.old_logp).exp(), terms.credit

    def rollout(i: int) -> Tensor:
        losses = []
        for r, w in zip(ratio[i][terms.mask[i]], credit[i][terms.mask[i]], strict=True):
            a = w * terms.advantages[i]
            inner = torch.min(r * a, torch.clamp(r, 1 - config.clip_low, 1 + config.clip_high) * a)
            losses.append(-(torch.max(inner, config.dual_clip * a) if config.dual_clip and a < 0 else inner))
        return torch.stack(losses).sum() / divisor(terms, i, config) + config.kl_coef * written_kl(terms, i, config)

    assert_written(terms, config, rollout)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), configs(), st.sampled_from(["policy_gradient", "wd1"]))
def test_policy_gradients_with_credit(seed: int, config: UniGRPOConfig, objective: str) -> None:
    terms, config = with_credit(seed), replace(config, objective=objective)
    credit = terms.credit
    assert credit is not None

    def rollout(i: int) -> Tensor:
        each = -terms.advantages[i] * (credit[i] * terms.logp[i])[terms.mask[i]]
        return each.sum() / divisor(terms, i, config) + config.kl_coef * written_kl(terms, i, config)

    assert_written(terms, config, rollout)


def test_a_golden_credit() -> None:
    """Two tokens at step 0; of the two at step 4, one is inside the first three."""
    assert credit_of(np.array([0, 0, 4, 6, 4, 6, 7, 9]), 2.0, 3 / 8) == pytest.approx(GOLDEN, rel=1e-12)
    assert credit_of(np.array([5, 5, 5]), 7.0, 0.25) == pytest.approx(np.ones(3), rel=1e-12)
    assert credit_of(np.array([3, 1, 2]), 1.0, 0.25) == pytest.approx(np.ones(3), rel=1e-12)


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.floats(0.1, 9), st.floats(0.01, 1))
def test_a_responses_credit_is_shared_out(steps: list[int], weight: float, share: float) -> None:
    credit, at = credit_of(np.array(steps), weight, share), np.array(steps)
    assert credit.mean() == pytest.approx(1, rel=1e-9) and (credit > 0).all()
    order = credit[np.argsort(at, kind="stable")]
    assert (np.diff(order) * (1 if weight <= 1 else -1) >= -1e-9).all(), "earlier is more, or less below 1"
    assert all(np.ptp(credit[at == step]) == 0 for step in {*steps})


def test_a_plan_and_its_image_have_an_order_each() -> None:
    """The image's steps come after the plan's, yet its first codes are structure too."""
    mask = np.array([False, True, True, True, True, False, True, True])
    steps = np.array([0, 1, 2, 3, 8, 9], np.int32)
    batch = TrainBatch(
        (np.arange(20, 28),), (mask,), np.ones(1, np.float32), ((MaskDraw(1, 1.0),),), (Task.THINK_DRAW,), (steps,),
        spans=((Span(1, 5, Modality.TEXT), Span(6, 8, Modality.IMAGE)),),
    )  # fmt: skip
    algorithm = UniGRPOConfig(mu=1, structure_weight=3.0, structure_share=0.5)
    found = collate(batch, [(0, 1.0)], torch.device("cpu"), algorithm).credit
    assert found is not None
    np.testing.assert_allclose(found[0].numpy(), [0, 1.5, 1.5, 0.5, 0.5, 0, 1.5, 0.5], rtol=1e-6)
    assert collate(batch, [(0, 1.0)], torch.device("cpu"), UniGRPOConfig(mu=1)).credit is None

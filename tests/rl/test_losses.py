"""The losses against the papers' equations, written out a second time: plain loops, float64, derivatives by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.config import UniGRPOConfig
from rl.errors import ConfigError
from rl.losses import masked_cross_entropy, unigrpo

ESTIMATORS = ("k1", "k2", "k3")


@dataclass
class Case:
    """Inputs of the loss as NumPy arrays; ``lengths`` may be None."""

    logp: np.ndarray
    old: np.ndarray
    ref: np.ndarray
    advantages: np.ndarray
    mask: np.ndarray
    lengths: np.ndarray | None
    config: UniGRPOConfig


@st.composite
def cases(draw) -> Case:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    b, length = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    logp = -generator.exponential(2.0, (b, length))
    spread = draw(st.sampled_from([0.0, 0.05, 0.5, 2.0]))
    mask = generator.random((b, length)) < draw(st.floats(0.1, 1.0))
    mask[np.arange(b), generator.integers(0, length, b)] = True
    return Case(
        logp=logp,
        old=logp + spread * generator.normal(size=(b, length)),
        ref=logp + spread * generator.normal(size=(b, length)),
        advantages=generator.normal(size=b) * draw(st.sampled_from([0.0, 1.0, 3.0])),
        mask=mask,
        lengths=generator.integers(length, 3 * length + 1, b) if draw(st.booleans()) else None,
        config=UniGRPOConfig(
            clip_low=draw(st.sampled_from([0.0, 0.1, 0.2, 0.9])),
            clip_high=draw(st.sampled_from([0.0, 0.2, 0.28, 3.0])),
            kl_coef=draw(st.sampled_from([0.0, 0.01, 1.0])),
            kl_estimator=draw(st.sampled_from(ESTIMATORS)),
            normalizer=draw(st.sampled_from(["masked", "length"])),
        ),
    )


def by_hand(case: Case) -> tuple[float, np.ndarray]:
    """Equations 3 to 5 of arXiv 2505.15809, token by token, and the derivative with respect to each logp."""
    config, gradient, loss = case.config, np.zeros_like(case.logp), 0.0
    b, length = case.logp.shape
    for i in range(b):
        whole = length if case.lengths is None else int(case.lengths[i])
        divisor = int(case.mask[i].sum()) if config.normalizer == "masked" else whole
        for t in range(length):
            if not case.mask[i, t]:
                continue
            value, slope = token(case.logp[i, t], case.old[i, t], case.ref[i, t], case.advantages[i], config)
            loss += value / divisor / b
            gradient[i, t] = slope / divisor / b
    return loss, gradient


def token(new: float, old: float, ref: float, advantage: float, config: UniGRPOConfig) -> tuple[float, float]:
    """Loss of one token, and its derivative: the ratio's is the ratio itself, and a clipped token's is 0."""
    ratio = math.exp(new - old)
    bounded = min(max(ratio, 1 - config.clip_low), 1 + config.clip_high)
    surrogate, surrogate_slope = ratio * advantage, ratio * advantage
    if bounded * advantage < surrogate:
        surrogate, surrogate_slope = bounded * advantage, 0.0
    d = ref - new
    kl, kl_slope = {
        "k1": (-d, 1.0),
        "k2": (d * d / 2, -d),
        "k3": (math.exp(d) - d - 1, 1 - math.exp(d)),
    }[config.kl_estimator]
    return -surrogate + config.kl_coef * kl, -surrogate_slope + config.kl_coef * kl_slope


def computed(case: Case, weights: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    logp = torch.tensor(case.logp, requires_grad=True)
    output = unigrpo(
        logp,
        torch.tensor(case.old),
        torch.tensor(case.ref),
        torch.tensor(case.advantages),
        torch.tensor(case.mask),
        case.config,
        lengths=None if case.lengths is None else torch.tensor(case.lengths),
        weights=None if weights is None else torch.tensor(weights),
    )
    assert output.loss.dtype == torch.float64 and output.loss.shape == ()
    output.loss.backward()
    assert logp.grad is not None
    return float(output.loss.detach()), logp.grad.numpy()


def assert_agrees(case: Case) -> None:
    loss, gradient = computed(case)
    expected_loss, expected_gradient = by_hand(case)
    assert loss == pytest.approx(expected_loss, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-9)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_loss_and_gradient_are_the_papers(case: Case) -> None:
    assert_agrees(case)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("normalizer", ["masked", "length"])
@pytest.mark.parametrize("advantage", [-1.5, 0.0, 2.0])
def test_on_both_sides_of_both_clip_boundaries(estimator: str, normalizer: str, advantage: float) -> None:
    ratios = np.array([[0.8 - 1e-6, 0.8 + 1e-6, 1.0, 1.3 - 1e-6, 1.3 + 1e-6, 0.01, 50.0]])
    old = np.full(ratios.shape, -2.0)
    config = UniGRPOConfig(0.2, 0.3, 0.05, estimator, normalizer)
    mask = np.ones(ratios.shape, bool)
    case = Case(old + np.log(ratios), old, old - 0.3, np.array([advantage]), mask, np.array([20]), config)
    assert_agrees(case)
    if advantage:
        live = computed(replace(case, config=replace(config, kl_coef=0.0)))[1][0] != 0
        expected = [1, 1, 1, 1, 0, 1, 0] if advantage > 0 else [0, 1, 1, 1, 1, 0, 1]
        assert live.tolist() == [bool(flag) for flag in expected]


def test_numbers_by_hand() -> None:
    """Two tokens with ratios 1.5 and 0.5, advantage 1, clip 0.2: -(1.2 + 0.5)/2 = -0.85; KL 0 where ref is new."""
    old = torch.tensor([[-1.0, -1.0, -9.0]], dtype=torch.float64)
    new = old + torch.tensor([[1.5, 0.5, 7.0]], dtype=torch.float64).log()
    mask = torch.tensor([[True, True, False]])
    output = unigrpo(new, old, new, torch.ones(1), mask, UniGRPOConfig(kl_coef=0.5))
    assert float(output.loss) == pytest.approx(-0.85)
    assert float(output.metrics["actor/pg_loss"]) == pytest.approx(-0.85)
    assert float(output.metrics["actor/kl_loss"]) == pytest.approx(0.0, abs=1e-12)
    assert float(output.metrics["actor/pg_clipfrac"]) == pytest.approx(0.5)
    assert float(output.metrics["actor/ppo_kl"]) == pytest.approx(-math.log(0.75) / 2)
    assert float(output.metrics["actor/ratio_max_deviation"]) == pytest.approx(0.5)
    by_length = unigrpo(new, old, None, torch.ones(1), mask, UniGRPOConfig(kl_coef=0.0, normalizer="length"))
    assert float(by_length.loss) == pytest.approx(-1.7 / 3)


@pytest.mark.parametrize("garbage", [math.inf, -math.inf, math.nan, 1e300])
def test_what_lies_outside_the_mask_does_not_matter(garbage: float) -> None:
    generator = np.random.default_rng(0)
    logp, old, ref = (-generator.exponential(1.0, (2, 4)) for _ in range(3))
    mask = np.array([[True, False, True, False], [False, False, True, True]])
    case = Case(logp, old, ref, np.array([1.0, -2.0]), mask, None, UniGRPOConfig(kl_coef=0.1))
    loss, gradient = computed(case)
    dirty = replace(case, **{name: np.where(mask, getattr(case, name), garbage) for name in ("logp", "old", "ref")})
    dirty_loss, dirty_gradient = computed(dirty)
    assert dirty_loss == loss
    np.testing.assert_array_equal(dirty_gradient, gradient)


@settings(max_examples=50, deadline=None)
@given(cases(), st.integers(0, 5))
def test_micro_batches_add_up_to_the_whole(case: Case, cut: int) -> None:
    loss, gradient = computed(case)
    b = len(case.logp)
    parts = []
    for rows in (slice(0, min(cut, b)), slice(min(cut, b), b)):
        arrays = {name: getattr(case, name)[rows] for name in ("logp", "old", "ref", "advantages", "mask")}
        lengths = None if case.lengths is None else case.lengths[rows]
        part = replace(case, **arrays, lengths=lengths)
        parts.append(computed(part, weights=np.full(len(part.logp), 1 / b)))
    assert sum(part[0] for part in parts) == pytest.approx(loss, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(np.concatenate([part[1] for part in parts]), gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    logp = torch.full((2, 3), -1.0, dtype=dtype)
    output = unigrpo(logp, logp, logp, torch.ones(2), torch.ones(2, 3, dtype=torch.bool), UniGRPOConfig())
    assert output.loss.dtype == dtype
    assert float(output.loss) == -1.0


def test_a_reference_without_a_coefficient_is_watched_and_not_followed() -> None:
    logp = torch.full((1, 2), -1.0, requires_grad=True)
    mask = torch.ones(1, 2, dtype=torch.bool)
    output = unigrpo(logp, logp.detach(), logp.detach() - 1, torch.zeros(1), mask, UniGRPOConfig(kl_coef=0.0))
    output.loss.backward()
    assert float(output.metrics["actor/kl_loss"]) == pytest.approx(math.exp(-1))
    assert logp.grad is not None and not logp.grad.any()


def test_mistakes_are_named() -> None:
    logp, mask, advantages = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), torch.zeros(2)
    config = UniGRPOConfig()
    with pytest.raises(ConfigError, match="k4.*k1, k2, k3"):
        unigrpo(logp, logp, logp, advantages, mask, replace(config, kl_estimator="k4"))
    with pytest.raises(ConfigError, match="tokens.*masked, length"):
        unigrpo(logp, logp, logp, advantages, mask, replace(config, normalizer="tokens"))
    with pytest.raises(ConfigError, match="kl_coef=0.01"):
        unigrpo(logp, logp, None, advantages, mask, config)
    with pytest.raises(ValueError, match="old_logp"):
        unigrpo(logp, logp[:1], logp, advantages, mask, config)
    with pytest.raises(ValueError, match="advantages"):
        unigrpo(logp, logp, logp, advantages[:1], mask, config)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 6))
def test_masked_cross_entropy_is_lladas(seed: int, b: int, length: int) -> None:
    generator = np.random.default_rng(seed)
    values, mask = -generator.exponential(2.0, (b, length)), generator.random((b, length)) < 0.5
    ratio, lengths = generator.uniform(0.01, 1.0, b), generator.integers(1, length + 1, b)
    expected, gradient = 0.0, np.zeros((b, length))
    for i in range(b):
        for t in np.flatnonzero(mask[i]):
            expected -= values[i, t] / (ratio[i] * lengths[i]) / b
            gradient[i, t] = -1 / (ratio[i] * lengths[i]) / b
    logp = torch.tensor(np.where(mask, values, -np.inf), requires_grad=True)
    output = masked_cross_entropy(logp, torch.tensor(mask), torch.tensor(ratio), torch.tensor(lengths))
    output.loss.backward()
    assert logp.grad is not None
    assert float(output.loss.detach()) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(logp.grad.numpy(), gradient, rtol=1e-9)


def test_a_clipped_kl_is_the_plain_one_below_the_limit_and_flat_above():
    mask = torch.ones(1, 3, dtype=torch.bool)
    reference = torch.tensor([[-1.0, -1.0, -1.0]], dtype=torch.float64)
    logp = torch.tensor([[-1.5, -3.0, -200.0]], dtype=torch.float64, requires_grad=True)
    config = UniGRPOConfig(kl_coef=1.0, kl_clip=1.0)
    output = unigrpo(logp, logp.detach(), reference, torch.zeros(1, dtype=torch.float64), mask, config)
    output.loss.backward()
    below = math.expm1(0.5) - 0.5
    assert output.metrics["actor/kl_loss"].item() == pytest.approx((below + 1.0 + 1.0) / 3, abs=1e-12)
    assert logp.grad is not None
    assert logp.grad[0].tolist() == pytest.approx([-math.expm1(0.5) / 3, 0.0, 0.0], abs=1e-12)

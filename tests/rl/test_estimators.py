"""Against exact enumeration: a real policy in float64, a response of six tokens, all 63 masks."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.policy import MaskedDiffusionPolicy
from rl.config import UniGRPOConfig
from rl.errors import ConfigError
from rl.estimators import ESTIMATORS, views_of
from rl.estimators.base import Revealed, Views
from rl.estimators.prompt import prompt_pattern
from rl.estimators.spg_bound import sandwich
from rl.learner.likelihood import token_values
from rl.learner.microbatches import MicroBatch, collate
from rl.masking import mask_pattern
from rl.types import MaskDraw, Task, TrainBatch
from tests.rl.learner.test_update import SETTINGS, make_batch, make_learner
from tests.toys import toy_policy
from tests.wide import wide

PREFIX, STEPS = 5, np.array([3, 1, 1, 0, 4, 2])
L = len(STEPS)
TOLD = Revealed(
    np.array([0.9, 0.2, 0.5, 0.99, 0.7, 0.05], np.float32), np.array([0.3, 1.2, 0.9, 0.02, 0.6, 2.0], np.float32)
)
CONFIG = UniGRPOConfig()
NAMES = sorted(ESTIMATORS)
SIZES = range(1, L + 1)


@cache
def exact(image: bool) -> tuple[MaskedDiffusionPolicy, np.ndarray, np.ndarray]:
    """A policy, a sequence, and its table [64, L]: log p(token | what this mask shows), NaN where it is shown."""
    policy = toy_policy()
    policy.module.double()
    vocabulary, generator = policy.vocabulary, np.random.default_rng(3)
    first, count = (vocabulary.image_offset, vocabulary.codebook_size) if image else (0, vocabulary.size)
    response = generator.integers(first, first + count if image else vocabulary.image_offset, L)
    token_ids = np.concatenate([generator.integers(20, 250, PREFIX), response])
    table = np.full((2**L, L), np.nan)
    for bits in range(1, 2**L):
        hidden = np.array([bits >> i & 1 for i in range(L)], dtype=bool)
        shown = torch.tensor(token_ids)
        shown[PREFIX:][torch.tensor(hidden)] = vocabulary.mask_id
        with torch.no_grad():
            logits = policy.logits(shown[None])[0, PREFIX:, first : first + count]
        logp = logits.log_softmax(-1).gather(1, torch.tensor(response - first)[:, None]).squeeze(1).numpy()
        table[bits] = np.where(hidden, logp, np.nan)
    return policy, token_ids, table


def lookup(table: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    return table[int((hidden * 2 ** np.arange(L)).sum())]


def estimate(table: np.ndarray, views: Views) -> float:
    """scale * sum of weight * log p, from the table alone."""
    terms = [w * lookup(table, hidden) for hidden, w in zip(views.hidden, views.weights.astype(float), strict=True)]
    return views.scale * float(sum(np.where(w > 0, t, 0).sum() for w, t in zip(views.weights, terms, strict=True)))


def subsets(count: int) -> list[np.ndarray]:
    return [np.isin(np.arange(L), chosen) for chosen in itertools.combinations(range(L), count)]


def exact_elbo(table: np.ndarray) -> float:
    """1/L * sum over l of the mean over all masks of l tokens of L/l * sum of log p (arXiv 2502.09992, equation 6)."""
    return sum(float(np.mean([np.nansum(lookup(table, mask)) / count for mask in subsets(count)])) for count in SIZES)


def micro_batch(names: list[bool], algorithm: UniGRPOConfig, draws: list[MaskDraw], sign: float = 1.0) -> MicroBatch:
    rows = [exact(image)[1] for image in names]
    batch = TrainBatch(
        token_ids=tuple(rows),
        response_mask=tuple(np.arange(len(row)) >= PREFIX for row in rows),
        advantages=np.full(len(rows), sign, np.float32),
        mask_draws=(tuple(draws),),
        tasks=tuple(Task.DRAW if image else Task.TEXT for image in names),
        step_maps=(STEPS,) * len(rows),
        confidences=(TOLD.confidence,) * len(rows),
        entropies=(TOLD.entropy,) * len(rows),
    )
    return collate(batch, [(row, 1.0) for row in range(len(rows))], torch.device("cpu"), algorithm)


def measured(name: str, image: bool, seed: int, ratio: float, sign: float = 1.0, **options: float) -> np.ndarray:
    """[L] values of the six tokens from the learner's own path, and their scale as a last entry."""
    algorithm = replace(CONFIG, estimator=name, **options)
    data = micro_batch([image], algorithm, [MaskDraw(seed, ratio)], sign)
    with torch.no_grad():
        values = token_values(exact(image)[0], data, 0, algorithm).values[0]
    assert values.dtype == torch.float64
    return np.append(values[PREFIX:].numpy(), data.scales[0, 0])


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("name", sorted({*NAMES} - {"spg"}))
def test_equals_the_table_of_all_masks(name: str, image: bool) -> None:
    table = exact(image)[2]
    for seed, ratio in [(1, 0.2), (2, 0.5), (3, 1.0), (4, 0.77)]:
        views = views_of(name, MaskDraw(seed, ratio), STEPS, CONFIG, TOLD)
        values = measured(name, image, seed, ratio)
        assert values[-1] * values[:-1].sum() == pytest.approx(estimate(table, views), rel=1e-6)


@pytest.mark.parametrize("image", [False, True])
def test_left_to_right_is_the_chain_rule(image: bool) -> None:
    table = exact(image)[2]
    chain = [lookup(table, np.arange(L) >= i)[i] for i in range(L)]
    np.testing.assert_allclose(measured("left_to_right", image, 0, 0.5), [*chain, 1.0], rtol=1e-12)


def test_a_trajectory_is_scored_as_it_was_sampled() -> None:
    """Steps 3 1 1 0 4 2: token 3 first, then 1 and 2 together, then 5, 0 and 4."""
    table = exact(False)[2]
    values = measured("trajectory", False, 0, 0.5)
    expected = [lookup(table, step <= STEPS)[i] for i, step in enumerate(STEPS)]
    np.testing.assert_allclose(values, [*expected, 1.0], rtol=1e-12)


def test_shrinking_scores_neighbouring_steps_together() -> None:
    """Two steps a pass: {0, 1}, {2, 3}, {4}; each pass hides what its first step had not seen."""
    table = exact(False)[2]
    first = np.array([2, 0, 0, 0, 4, 2])
    expected = [lookup(table, step <= STEPS)[i] for i, step in enumerate(first)]
    np.testing.assert_allclose(measured("trajectory", False, 0, 0.5, trajectory_shrink=2), [*expected, 1.0], rtol=1e-12)
    alone = measured("trajectory", False, 0, 0.5, trajectory_shrink=9)
    np.testing.assert_allclose(alone, [*lookup(table, np.ones(L, bool)), 1.0], rtol=1e-12)


def test_the_full_mask_is_d1s_estimate() -> None:
    table = exact(False)[2]
    np.testing.assert_allclose(measured("masked", False, 9, 1.0), [*lookup(table, np.ones(L, bool)), 1.0], rtol=1e-12)


@pytest.mark.parametrize(("ratio", "count"), [(1 / 3, 2), (0.5, 3), (0.01, 1), (1.0, 5)])
def test_coupled_is_the_published_formula(ratio: float, count: int) -> None:
    """(log p0 + log p1 / t) / 2 in the mask, (log p0 + log p2 / (1 - t)) / 2 in its complement (arXiv 2506.20639)."""
    table, t = exact(False)[2], count / L
    mask = mask_pattern(MaskDraw(5, count / L), L)
    full, one, two = (lookup(table, hidden) for hidden in (np.ones(L, bool), mask, ~mask))
    expected = np.where(mask, full + one / t, full + two / (1 - t)) / 2
    np.testing.assert_allclose(measured("coupled", False, 5, ratio), [*expected, 2 / 3], rtol=1e-6)


def test_the_bound_is_the_mean_over_all_orders() -> None:
    """The evidence lower bound is the mean log-likelihood over all 720 orders: two ways to enumerate it."""
    for image in (False, True):
        table = exact(image)[2]
        orders = [
            sum(lookup(table, np.isin(np.arange(L), order[i:]))[order[i]] for i in range(L))
            for order in itertools.permutations(range(L))
        ]
        assert exact_elbo(table) == pytest.approx(np.mean(orders), rel=1e-12)


def test_one_mask_at_every_ratio_is_the_bound() -> None:
    """Exactly: masks of one size are equally likely, so the mean over all of them at each size is what is expected."""
    table = exact(False)[2]
    by_size = []
    for count in range(1, L + 1):
        views = ESTIMATORS["masked"].views(MaskDraw(0, count / L), STEPS, CONFIG)
        assert views.hidden.sum() == count and views.scale == L / count
        by_size.append(np.mean([views.scale * np.nansum(lookup(table, mask)) for mask in subsets(count)]))
    assert np.mean(by_size) == pytest.approx(exact_elbo(table), rel=1e-12)


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize(
    ("name", "samples"),
    wide([("elbo", 3), ("elbo", 1), ("elbo_stratified", 2), ("elbo_stratified", 4), ("elbo_antithetic", 2),
          ("elbo_antithetic", 4)], 2, unpack=True),
)  # fmt: skip
def test_sampled_bounds_are_unbiased(name: str, samples: int, image: bool) -> None:
    table, config = exact(image)[2], replace(CONFIG, estimator_samples=samples)
    found = [estimate(table, ESTIMATORS[name].views(MaskDraw(seed, 0.5), STEPS, config)) for seed in range(1500)]
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - exact_elbo(table)) < 4 * error


@pytest.mark.parametrize("nodes", wide([3, 1, 2, 5], 2))
def test_quadrature_is_the_weighted_mean_over_masks_of_its_sizes(nodes: int) -> None:
    """Gauss-Legendre nodes of [0, 1] from their definition: the roots of the shifted Legendre polynomial."""
    table, config = exact(False)[2], replace(CONFIG, estimator_samples=nodes)
    roots = np.polynomial.legendre.Legendre.basis(nodes, domain=[0, 1]).roots()
    roots = np.asarray(roots, np.float64)
    vandermonde = np.vander(roots, increasing=True).T
    weights = np.linalg.solve(vandermonde, 1 / np.arange(1, nodes + 1))  # exact for 1, t, ... t^(nodes-1)
    expected = 0.0
    for root, weight in zip(roots, weights, strict=True):
        count = min(L, max(1, round(root * L)))
        expected += weight * float(np.mean([np.nansum(lookup(table, mask)) * L / count for mask in subsets(count)]))
    found = [
        estimate(table, ESTIMATORS["quadrature"].views(MaskDraw(seed, 0.5), STEPS, config)) for seed in range(1000)
    ]
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / math.sqrt(len(found)) + 1e-9


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 6, 9])
def test_strata_score_each_token_once_from_all_other_parts(parts: int) -> None:
    table, config = exact(False)[2], replace(CONFIG, estimator="strata", estimator_samples=parts)
    views = ESTIMATORS["strata"].views(MaskDraw(8, 0.5), STEPS, config)
    assert len(views.hidden) == min(parts, L) and (views.hidden.sum(0) == 1).all()
    sizes = views.hidden.sum(1)
    assert sizes.max() - sizes.min() <= 1 and (views.weights == views.hidden).all() and views.scale == 1.0
    expected = [lookup(table, views.hidden[views.hidden[:, i]][0])[i] for i in range(L)]
    found = measured("strata", False, 8, 0.5, estimator_samples=parts)
    np.testing.assert_allclose(found, [*expected, 1.0], rtol=1e-6)


def test_fewer_positions_stay_unbiased() -> None:
    table, config = exact(False)[2], replace(CONFIG, estimator_samples=2)
    chain = sum(lookup(table, np.arange(L) >= i)[i] for i in range(L))
    found = [
        estimate(table, ESTIMATORS["left_to_right"].views(MaskDraw(seed, 0.5), STEPS, config)) for seed in range(1500)
    ]
    assert abs(np.mean(found) - chain) < 4 * np.std(found) / math.sqrt(len(found))


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_spg_is_the_published_formula(samples: int) -> None:
    """Written out from arXiv 2510.09541, section 3, per token: 1/beta log mean_k[1(hidden) L/l_k p^beta]."""
    table, beta, omega = exact(False)[2], 1.5, 0.3
    config = replace(CONFIG, estimator="spg", estimator_samples=samples)
    options = {"spg_beta": beta, "spg_mixture": omega, "estimator_samples": samples}
    views = ESTIMATORS["spg"].views(MaskDraw(8, 0.5), STEPS, config)
    logp = np.array([lookup(table, hidden) for hidden in views.hidden])
    share = views.hidden.mean(1, keepdims=True)
    lower = np.nansum(logp / share, 0) / samples
    covered = views.hidden.any(0)
    powers = np.where(views.hidden, np.exp(beta * np.nan_to_num(logp)) / share, 0).mean(0)
    upper = np.zeros(L)
    upper[covered] = np.log(powers[covered]) / beta * L / covered.sum()
    np.testing.assert_allclose(measured("spg", False, 8, 0.5, 1.0, **options)[:-1], lower, rtol=1e-6)
    np.testing.assert_allclose(
        measured("spg", False, 8, 0.5, -1.0, **options)[:-1], omega * upper + (1 - omega) * lower, rtol=1e-6
    )


def block_masks(first: int, size: int) -> list[tuple[np.ndarray, float]]:
    """Every mask that hides 1 to all of a block and all after it, with its probability given the block."""
    return [
        (np.isin(np.arange(L), (*inside, *range(first + size, L))), 1 / size / math.comb(size, count))
        for count in range(1, size + 1)
        for inside in itertools.combinations(range(first, first + size), count)
    ]


@pytest.mark.parametrize(("block", "samples"), wide([(3, 1), (4, 2), (2, 3), (1, 4), (9, 2)], 2, unpack=True))
def test_spgs_blocks_have_the_mean_over_all_their_masks(block: int, samples: int) -> None:
    """Enumerated: a uniform block, a uniform count in it, a uniform set of them, all later tokens hidden."""
    table, config = exact(False)[2], replace(CONFIG, estimator_samples=samples)
    blocks = [(first, min(block, L - first)) for first in range(0, L, block)]
    means = [
        sum(chance * L / mask.sum() * np.nansum(lookup(table, mask)) for mask, chance in block_masks(first, size))
        for first, size in blocks
    ]
    views = [ESTIMATORS["spg"].views(MaskDraw(seed, 0.5, block), STEPS, config) for seed in range(1000)]
    found = [estimate(table, each) for each in views]
    assert abs(np.mean(found) - np.mean(means)) <= 4 * np.std(found) / math.sqrt(len(found)) + 1e-9
    allowed = {mask.tobytes() for first, size in blocks for mask, _ in block_masks(first, size)}
    seen = {mask.tobytes() for each in views for mask in each.hidden}
    assert seen == allowed, "every mask, and no other"


def test_spgs_passes_take_different_blocks() -> None:
    config = replace(CONFIG, estimator_samples=3)
    for seed in range(20):
        hidden = ESTIMATORS["spg"].views(MaskDraw(seed, 0.5, 2), STEPS, config).hidden
        assert sorted(int(row.argmax()) // 2 for row in hidden) == [0, 1, 2]


def test_spgs_earlier_blocks_are_perturbed_as_the_prompt_is() -> None:
    """0.4 of the tokens before the chosen block are hidden too; the last of three blocks is chosen a third of the time."""
    config = replace(CONFIG, estimator_samples=1, prompt_mask_prob=0.4)
    rows = [ESTIMATORS["spg"].views(MaskDraw(seed, 0.5, 2), STEPS, config).hidden[0] for seed in range(3000)]
    share = np.mean([row[0] for row in rows])  # its own block: 3/4; the other two: 0.4
    assert share == pytest.approx(1 / 3 * 3 / 4 + 2 / 3 * 0.4, abs=0.02)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_spg_by_blocks_equals_the_table(sign: float) -> None:
    """The learner's own path gives the sandwich of the table's entries, with blocks and a part of the prompt hidden."""
    config = replace(CONFIG, estimator="spg", estimator_samples=2)
    draw, table = MaskDraw(8, 0.5, 3), exact(False)[2]
    views = ESTIMATORS["spg"].views(draw, STEPS, config)
    logp = torch.tensor(np.nan_to_num([lookup(table, hidden) for hidden in views.hidden]))[:, None]
    expected = sandwich(logp, torch.tensor(views.weights)[:, None], torch.tensor([sign]), config)
    data = micro_batch([False], config, [draw], sign)
    with torch.no_grad():
        values = token_values(exact(False)[0], data, 0, config).values
    np.testing.assert_allclose(values[:, PREFIX:].numpy(), expected.numpy(), rtol=1e-6)


def test_some_of_the_prompt_is_hidden_and_never_scored() -> None:
    """d1's random prompt masks: the policy is asked with them, whatever the estimator."""
    algorithm = replace(CONFIG, prompt_mask_prob=0.5)
    draw, policy = MaskDraw(9, 1.0), exact(False)[0]
    data = micro_batch([False], algorithm, [draw])
    hidden = data.hidden[0, 0, 0]
    assert hidden[PREFIX:].all() and 0 < hidden[:PREFIX].sum() < PREFIX and not data.term_weights[..., :PREFIX].any()
    with torch.no_grad():
        values = token_values(policy, data, 0, algorithm).values[0]
        logits = policy.logits(data.token_ids.masked_fill(hidden, policy.vocabulary.mask_id))[0]
    expected = logits.log_softmax(-1).gather(1, data.token_ids[0][:, None]).squeeze(1)
    torch.testing.assert_close(values[PREFIX:], expected[PREFIX:], rtol=1e-10, atol=1e-12)
    assert not values[:PREFIX].any()


def test_prompt_masks_have_their_probability_and_are_pure() -> None:
    found = [prompt_pattern(MaskDraw(seed, 1.0), 40, 0.15) for seed in range(200)]
    assert np.mean(found) == pytest.approx(0.15, abs=4 * math.sqrt(0.15 * 0.85 / 8000))
    assert (prompt_pattern(MaskDraw(7, 0.3), 40, 0.15) == found[7]).all()
    assert not prompt_pattern(MaskDraw(7, 1.0), 40, 0.0).any()


def test_the_sandwich_has_a_finite_gradient_where_no_pass_scores() -> None:
    logp = torch.tensor([[[-1.0, -2.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([[[1.5, 1.5, 0.0]]])
    value = sandwich(logp, weights, torch.tensor([-1.0]), replace(CONFIG, spg_mixture=1.0))
    (gradient,) = torch.autograd.grad(value.sum(), logp)
    np.testing.assert_allclose(gradient.numpy(), [[[1.5, 1.5, 0.0]]], rtol=1e-7)


@given(st.sampled_from(NAMES), st.integers(0, 2**60), st.floats(0.001, 1.0), st.integers(1, 20), st.integers(1, 6))
def test_views_are_pure_and_score_only_what_they_hide(
    name: str, seed: int, ratio: float, length: int, samples: int
) -> None:
    steps = np.random.default_rng(seed).integers(0, 5, length)
    config = replace(CONFIG, estimator_samples=samples)
    told = Revealed(*np.random.default_rng(seed).random((2, length), dtype=np.float32))
    views, again = (views_of(name, MaskDraw(seed, ratio), steps, config, told) for _ in range(2))
    assert (views.hidden == again.hidden).all() and (views.weights == again.weights).all()
    assert views.hidden.shape == views.weights.shape and views.weights.dtype == np.float32
    assert (views.weights >= 0).all() and not (views.weights[~views.hidden]).any() and (views.weights > 0).any()
    if not name.startswith("trajectory") and name != "left_to_right":
        assert views.scale * views.weights.sum() == pytest.approx(length, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_batch_mates_change_nothing(name: str) -> None:
    """Text and image together, with different numbers of passes, equal each alone."""
    algorithm = replace(CONFIG, estimator=name)
    draws = [MaskDraw(4, 0.3), MaskDraw(6, 0.9)]
    policy = exact(False)[0]
    together = token_values(policy, micro_batch([False, True], algorithm, draws), 0, algorithm).values
    for row, image in enumerate((False, True)):
        alone = token_values(policy, micro_batch([image], algorithm, draws[row : row + 1]), 0, algorithm).values
        torch.testing.assert_close(together[row], alone[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_learner_trains_with_it(name: str) -> None:
    settings = replace(SETTINGS, algorithm=replace(SETTINGS.algorithm, estimator=name, estimator_samples=2))
    learner = make_learner(settings)
    report = learner.update(make_batch(0, settings))
    assert report.metrics["actor/first_ratio_error"] <= 1e-5 < report.metrics["actor/ratio_max_deviation"]
    assert math.isfinite(report.metrics["actor/entropy"]) and report.metrics["actor/grad_norm"] > 0


def test_an_unknown_estimator_is_refused() -> None:
    with pytest.raises(ConfigError, match="estimator='elbow': allowed: masked, .*did you mean 'elbo'"):
        ESTIMATORS["elbow"]


@pytest.mark.parametrize(
    "hidden, weights, said",
    [
        (np.ones(3, bool), np.ones(3), r"hidden has shape \(3,\); allowed: \(passes, 3\), 1 pass or more"),
        (np.ones((3, 2), bool), np.ones((3, 2)), r"hidden has shape \(3, 2\); allowed"),
        (np.ones((0, 3), bool), np.ones((0, 3)), r"hidden has shape \(0, 3\); allowed"),
        (np.ones((2, 3), bool), np.ones((1, 3)), r"hidden has shape \(2, 3\), weights has \(1, 3\); must be the same"),
        (np.ones((1, 3), bool), np.array([[0.0, np.nan, 1.0]]), "weights holds NaN or infinity"),
        (np.array([[True, False, True]]), np.ones((1, 3)), "weights is not 0 at a token that is shown"),
    ],
)
def test_views_of_an_estimator_with_a_mistake_are_one_line(hidden: np.ndarray, weights: np.ndarray, said: str) -> None:
    with pytest.raises(ConfigError, match=f"estimator 'mine': a response of 3 tokens: {said}"):
        Views(hidden, weights).check("mine", 3)

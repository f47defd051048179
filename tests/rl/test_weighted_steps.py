"""Steps drawn with unequal chances, and the control variate: their means by exact enumeration, in float64."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.config import UniGRPOConfig, build_config
from rl.errors import ConfigError
from rl.estimators import ESTIMATORS, views_of, weighted_steps
from rl.estimators.base import Revealed, Views
from rl.estimators.control_variate import controlled
from rl.estimators.elbo import weigh
from rl.estimators.trajectory import within_blocks
from rl.estimators.weighted_steps import chances, step_weights
from rl.masking import SCHEDULES
from rl.types import MaskDraw
from tests.rl.test_estimators import STEPS, TOLD, L, estimate, exact, exact_elbo, lookup, measured, subsets

GOLDEN = [
    [0.0, -7.899341311114112, -9.466177545942926, 0.0, 0.0, -8.058344106468097, 1.0],
    [0.0, -24.750319592160192, -29.65955139, 0.0, 0.0, -4.396628, 1.0],
]
WEIGHTED = ("trajectory_entropy", "trajectory_surprisal")
EVEN = sorted(name for name in ESTIMATORS if ESTIMATORS[name].even)


def offsets(chance: np.ndarray, samples: int) -> list[tuple[float, float]]:
    """(offset, share of all offsets): one for each interval in which the same steps are drawn."""
    cuts = {float(samples * edge % 1.0) for edge in np.cumsum(chance)[:-1]}
    edges = [0.0, *sorted(cuts), 1.0]
    return [((low + high) / 2, high - low) for low, high in itertools.pairwise(edges) if high > low]


def written_chances(name: str) -> np.ndarray:
    """By hand from the papers' rules, for steps 0 .. 4, with a tenth of it spread evenly."""
    tokens = [np.flatnonzero(step == STEPS) for step in range(5)]
    if name == "trajectory_entropy":
        shares = np.array([sum(float(TOLD.entropy[i]) for i in of) for of in tokens])
    else:
        shares = np.exp([np.mean([-np.log(float(TOLD.confidence[i])) for i in of]) for of in tokens])
    return 0.9 * shares / shares.sum() + 0.1 / 5


@settings(deadline=None)
@given(st.lists(st.floats(0, 5), min_size=1, max_size=9), st.integers(1, 12))
def test_every_steps_weight_has_a_mean_of_one(shares: list[float], samples: int) -> None:
    chance = chances(np.array(shares))
    assert chance.sum() == pytest.approx(1) and chance.min() >= 0.1 / len(shares) - 1e-12
    rows = [(step_weights(chance, samples, offset), share) for offset, share in offsets(chance, samples)]
    assert sum(share * weights for weights, share in rows) == pytest.approx(np.ones(len(shares)), rel=1e-9)
    for weights, _ in rows:
        points = np.round(weights * samples * chance, 6) if samples < len(chance) else np.ones(len(chance))
        assert (np.abs(points - samples * chance) < 1 + 1e-6).all() or samples >= len(chance)
        assert weights.max() <= 10 * len(chance) / samples + 1 + 1e-6


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("name", WEIGHTED)
def test_the_mean_is_the_trajectorys_log_likelihood(
    name: str, samples: int, image: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64 from the weights to 1e-9, and from the estimator's own float32 views to their rounding."""
    table, chance = exact(image)[2], written_chances(name)
    of_step = np.array([sum(lookup(table, step <= STEPS)[step == STEPS]) for step in range(5)])
    config = replace(UniGRPOConfig(), estimator=name, estimator_samples=samples)
    mean = from_views = 0.0
    for offset, share in offsets(chance, samples):
        mean += share * float(step_weights(chance, samples, offset) @ of_step)
        monkeypatch.setattr(weighted_steps, "uniforms", lambda seed, count, at=offset: (np.array([at]), None))
        views = views_of(name, MaskDraw(0, 0.5), STEPS, config, TOLD)
        assert len(views.hidden) <= min(samples, 5)
        from_views += share * estimate(table, views)
    assert mean == pytest.approx(of_step.sum(), rel=1e-9)
    assert from_views == pytest.approx(of_step.sum(), rel=1e-6)


def test_golden_numbers() -> None:
    """Values of the six tokens and their scale: steps 1 and 2 were drawn, each once."""
    found = [measured(name, False, 11, 0.5, estimator_samples=2) for name in WEIGHTED]
    np.testing.assert_allclose(found, GOLDEN, rtol=1e-5)


@pytest.mark.parametrize("name", WEIGHTED)
def test_steps_are_drawn_as_often_as_their_doubt_says(name: str) -> None:
    """Step 2 revealed the token of 2.0 nats and 5%, step 0 the one of 0.02 nats and 99%."""
    config = UniGRPOConfig(estimator=name, estimator_samples=1)
    rows = [views_of(name, MaskDraw(seed, 0.5), STEPS, config, TOLD).weights[0] > 0 for seed in range(400)]
    np.testing.assert_allclose(np.mean(rows, axis=0), written_chances(name)[STEPS], atol=0.09)
    assert written_chances(name)[2] > 5 * written_chances(name)[0]


@pytest.mark.parametrize("name", WEIGHTED)
def test_without_any_doubt_all_steps_are_alike(name: str) -> None:
    config = UniGRPOConfig(estimator=name, estimator_samples=1)
    sure = Revealed(np.ones(L, np.float32), np.full(L, -1e-7, np.float32))
    weights = [views_of(name, MaskDraw(seed, 0.5), STEPS, config, sure).weights.max() for seed in range(20)]
    assert weights == pytest.approx([5.0] * 20)


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_block_causal_policys_steps_count_within_its_blocks(name: str) -> None:
    steps = within_blocks(np.array([0, 1, 1, 2, 3, 4]), np.arange(6), 3)
    assert ESTIMATORS[name].by_block and steps.tolist() == [0, 1, 1, 0, 1, 2]
    views = views_of(name, MaskDraw(0, 0.5), steps, UniGRPOConfig(estimator_samples=9), TOLD)
    assert views.hidden.tolist() == [[True] * 6, [False, True, True, False, True, True], [False] * 5 + [True]]


@pytest.mark.parametrize("name", WEIGHTED)
def test_rollouts_that_tell_nothing_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(ConfigError, match=f"estimator '{name}': the rollouts do not say how sure") as caught:
        views_of(name, MaskDraw(0, 0.5), STEPS, UniGRPOConfig())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("coefficient", [0.3, 1.0, -2.0])
@pytest.mark.parametrize("samples", [1, 2])
def test_a_control_variate_leaves_the_bound_as_it_is(coefficient: float, samples: int) -> None:
    """All 63 masks of each count, alone and in pairs, at any coefficient."""
    table, means = exact(False)[2], []
    for count in range(1, L + 1):
        masks = [np.flatnonzero(mask) for mask in subsets(count)]
        rows = [weigh(list(chosen), L) for chosen in itertools.product(masks, repeat=samples)]
        means.append(np.mean([in_float64(table, controlled(views, coefficient)) for views in rows]))
    assert np.mean(means) == pytest.approx(exact_elbo(table), rel=1e-6)


def in_float64(table: np.ndarray, views: Views) -> float:
    rows = zip(views.hidden, views.weights.astype(np.float64), strict=True)
    return float(sum(np.where(weights != 0, weights * lookup(table, hidden), 0).sum() for hidden, weights in rows))


def test_a_control_variate_by_hand_to_1e9() -> None:
    """Two of four tokens hidden: 2 h_t less for each of them, h_t more for all; written out without the estimator."""
    table, h = exact(False)[2], lookup(exact(False)[2], np.ones(L, bool))
    plain, with_it = [], []
    for mask in subsets(2):
        terms = lookup(table, mask)[mask]
        plain.append(L / 2 * terms.sum())
        with_it.append(h.sum() + L / 2 * (terms - h[mask]).sum())
        views = controlled(weigh([np.flatnonzero(mask)], L), 1.0)
        assert in_float64(table, views) == pytest.approx(with_it[-1], rel=1e-6)
    assert np.mean(with_it) == pytest.approx(np.mean(plain), rel=1e-9)


def test_where_terms_follow_the_full_mask_the_noise_is_gone() -> None:
    """If what is shown does not matter, each estimate is the exact sum."""
    h = -np.arange(1.0, L + 1)
    table = np.tile(h, (2**L, 1))
    for seed in range(20):
        config = UniGRPOConfig(estimator="elbo", control_variate=1.0)
        views = views_of("elbo", MaskDraw(seed, 0.5), STEPS, config)
        assert in_float64(table, views) == pytest.approx(h.sum(), rel=1e-6)


@pytest.mark.parametrize("name", EVEN)
def test_every_token_is_scored_evenly_over_the_draws(name: str) -> None:
    """What the control variate rests on: a mean weight of 1 for each token, also where the order is not random."""
    config = UniGRPOConfig(estimator=name, estimator_samples=2)
    totals = []
    for seed in range(1200):
        views = views_of(name, MaskDraw(seed, (seed % 24 + 0.5) / 24), STEPS, config, TOLD)
        totals.append(views.scale * views.weights.sum(0))
    error = np.std(totals, axis=0) / len(totals) ** 0.5
    assert (np.abs(np.mean(totals, axis=0) - 1) <= 4.5 * error + 1e-6).all()


@pytest.mark.parametrize("schedule", [name for name, of in SCHEDULES.items() if of.states and not of.states.sampled])
def test_so_it_is_for_the_samplers_states(schedule: str) -> None:
    config, steps = UniGRPOConfig(schedule=schedule), np.array([1, 0, 1, 2, 4, 3])
    totals = []
    for seed in range(2400):
        views = views_of("masked", MaskDraw(seed, (seed % 24 + 0.5) / 24, None, (4, 2)), steps, config)
        totals.append(views.scale * views.weights.sum(0))
    error = np.std(totals, axis=0) / len(totals) ** 0.5
    assert (np.abs(np.mean(totals, axis=0) - 1) <= 4.5 * error + 1e-6).all()


def test_a_full_mask_needs_no_control_variate() -> None:
    views = views_of("masked", MaskDraw(3, 1.0), STEPS, UniGRPOConfig(schedule="full", control_variate=1.0))
    assert len(views.hidden) == 1 and views.hidden.all()


@pytest.mark.parametrize("name", EVEN)
def test_the_learners_own_path_has_the_control_variate(name: str) -> None:
    """The table's entries with the weights of the views, some of them below 0."""
    for seed in (3, 8):
        values = measured(name, False, seed, 0.5, control_variate=1.0, estimator_samples=2)
        config = UniGRPOConfig(estimator=name, control_variate=1.0, estimator_samples=2)
        views = views_of(name, MaskDraw(seed, 0.5), STEPS, config, TOLD)
        assert values[-1] * values[:-1].sum() == pytest.approx(
            views.scale * in_float64(exact(False)[2], views), rel=1e-5
        )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            {"control_variate": 1.0, "estimator": "spg"},
            "control_variate=1: not exact with estimator=spg; allowed: masked",
        ),
        ({"control_variate": 1.0, "schedule": "matched_order"}, "not exact with schedule=matched_order"),
        ({"control_variate": -1.0}, "control_variate=-1.0: must be 0 or more"),
        ({"structure_weight": 2.0, "objective": "gdsd"}, "structure_weight=2: objective=gdsd has one term a response"),
        ({"structure_weight": 2.0, "ratio": "sequence"}, "structure_weight=2: ratio=sequence has one term a response"),
        ({"structure_weight": 0.0}, "structure_weight=0.0: must be a number above 0"),
        ({"structure_share": 1.5}, "structure_share=1.5: must be a probability"),
    ],
)
def test_combinations_without_a_sense_are_one_line(override: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_config([("test", {"learner": {"algorithm": override}})])
    assert "\n" not in str(caught.value)

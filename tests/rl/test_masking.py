from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.errors import ConfigError
from rl.masking import SCHEDULES, mask_pattern, mask_ratios, ratio_for, timesteps
from rl.types import MaskDraw

SEEDS = st.integers(0, 2**63 - 1)
MUS = st.integers(1, 12)


def test_the_papers_own_numbers() -> None:
    assert timesteps("stratified", 5, 0, total=1000, start=100) == [100, 300, 500, 700, 900]
    assert timesteps("algorithm1", 5, 0, total=1000, start=100) == [100, 325, 550, 775, 1000]
    assert mask_ratios("stratified", 5, 0, start=100) == [0.1, 0.3, 0.5, 0.7, 0.9]
    assert mask_ratios("algorithm1", 5, 0, start=100) == [0.1, 0.325, 0.55, 0.775, 1.0]


def test_stratified_wraps_and_zero_counts_as_the_whole() -> None:
    assert timesteps("stratified", 4, 0, start=700) == [700, 950, 200, 450]
    assert timesteps("stratified", 4, 0, start=500) == [500, 750, 1000, 250]
    assert timesteps("stratified", 3, 0, start=1000) == [1000, 333, 666]


def test_one_inner_update_is_the_starting_point() -> None:
    for schedule in ("stratified", "algorithm1"):
        assert timesteps(schedule, 1, 0, start=420) == [420]


def test_middle_ratios_leave_out_both_ends() -> None:
    found = [ratio for seed in range(300) for ratio in mask_ratios("middle", 4, seed)]
    assert min(found) >= 0.2 and max(found) <= 0.8 and max(found) - min(found) > 0.58
    assert sum(found) / len(found) == pytest.approx(0.5, abs=0.03)  # uniform: four standard errors are 0.02


def test_full_masks_everything() -> None:
    assert mask_ratios("full", 3, 11) == [1.0, 1.0, 1.0]


@given(st.sampled_from(sorted(SCHEDULES)), MUS, SEEDS, st.integers(1, 2000))
def test_every_schedule_is_pure_and_in_range(schedule: str, mu: int, seed: int, total: int) -> None:
    drawn = timesteps(schedule, mu, seed, total=total)
    assert drawn == timesteps(schedule, mu, seed, total=total)
    assert len(drawn) == mu and all(type(t) is int and 1 <= t <= total for t in drawn)
    assert mask_ratios(schedule, mu, seed, total=total) == [t / total for t in drawn]


@given(MUS, SEEDS)
def test_stratified_spaces_evenly_around_the_circle(mu: int, seed: int) -> None:
    ordered = sorted(timesteps("stratified", mu, seed))
    gaps = [b - a for a, b in zip(ordered, [*ordered[1:], ordered[0] + 1000], strict=True)]
    assert all(1000 // mu <= gap <= 1000 // mu + 1 for gap in gaps)


@given(st.integers(2, 12), SEEDS)
def test_algorithm1_climbs_to_the_whole(mu: int, seed: int) -> None:
    drawn = timesteps("algorithm1", mu, seed)
    assert drawn == sorted(drawn) and drawn[-1] == 1000


@pytest.mark.parametrize("schedule", ["stratified", "random", "algorithm1"])
def test_starting_points_are_uniform_over_seeds(schedule: str) -> None:
    first = [timesteps(schedule, 4, seed, total=10)[0] for seed in range(3000)]
    counts = np.bincount(first, minlength=11)[1:]
    assert counts.sum() == 3000
    # 300 expected in each of 10 cells: chi-squared with 9 degrees of freedom is above 33.7 once in 10,000.
    assert ((counts - 300) ** 2 / 300).sum() < 33.7


def test_random_draws_each_update_on_its_own() -> None:
    drawn = np.array([timesteps("random", 2, seed) for seed in range(2000)])
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("arguments", "options", "names"),
    [
        (("cosine", 4, 0), {}, "stratified"),
        (("stratified", 0, 0), {}, "mu=0"),
        (("stratified", 4, 0), {"start": 0}, "start=0"),
        (("stratified", 4, 0), {"start": 1001}, "1001"),
        (("stratified", 4, 0), {"total": 0}, "total=0"),
        (("full", 4, 0), {"start": 100}, "full"),
        (("random", 4, 0), {"start": 100}, "random"),
    ],
)
def test_mistakes_are_named(arguments: tuple, options: dict, names: str) -> None:
    with pytest.raises(ConfigError, match=names) as caught:
        mask_ratios(*arguments, **options)
    assert "\n" not in str(caught.value)


@given(SEEDS, st.floats(0, 1), st.integers(1, 300))
def test_a_pattern_has_the_exact_count(seed: int, ratio: float, length: int) -> None:
    pattern = mask_pattern(MaskDraw(seed, ratio), length)
    assert pattern.dtype == bool and pattern.shape == (length,)
    assert pattern.sum() == max(1, int(np.floor(ratio * length + 0.5)))
    assert (pattern == mask_pattern(MaskDraw(seed, ratio), length)).all()


@given(SEEDS, st.integers(1, 100), st.floats(0, 1), st.floats(0, 1))
def test_under_one_seed_a_higher_ratio_masks_a_superset(seed: int, length: int, a: float, b: float) -> None:
    lower, higher = (mask_pattern(MaskDraw(seed, ratio), length) for ratio in sorted((a, b)))
    assert (higher | ~lower).all()


def test_every_position_is_masked_equally_often() -> None:
    counts = sum(mask_pattern(MaskDraw(seed, 0.25), 20).astype(int) for seed in range(4000))
    # 1,000 expected, standard deviation 27.
    assert np.all(np.abs(counts - 1000) < 5 * 27)


def test_patterns_never_change_between_versions() -> None:
    pattern = mask_pattern(MaskDraw(12345, 0.3), 20)
    assert np.flatnonzero(pattern).tolist() == [3, 4, 7, 10, 13, 17]


def test_an_empty_response_has_an_empty_pattern() -> None:
    assert mask_pattern(MaskDraw(1, 0.5), 0).shape == (0,)


@pytest.mark.parametrize("length", [*range(1, 21), 31, 40, 64, 100, 256, 333, 512, 999, 1000])
def test_uniform_ratios_hide_each_count_equally_often(length: int) -> None:
    """Over all timesteps, so without chance: ceil(t / 1000 * L) takes each of 1..L for 1000 / L timesteps."""
    draws = [MaskDraw(1, ratio_for("random", t / 1000, length)) for t in range(1, 1001)]
    counts = np.bincount([int(mask_pattern(draw, length).sum()) for draw in draws], minlength=length + 1)
    assert counts[0] == 0 and counts[1:].max() - counts[1:].min() <= 1


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if not SCHEDULES[name].uniform])
def test_the_papers_schedules_keep_their_ratios(schedule: str) -> None:
    assert [ratio_for(schedule, t / 1000, 7) for t in (1, 71, 500, 1000)] == [0.001, 0.071, 0.5, 1.0]


def test_short_responses_estimate_the_evidence_bound() -> None:
    """log p of a token depends on how many others are shown: the mean over timesteps of L/M * sum is the bound by hand."""
    length, log_p = 4, {1: -0.2, 2: -0.5, 3: -0.9, 4: -1.4}  # with so many hidden
    bound = float(np.mean([length * log_p[count] for count in range(1, length + 1)]))
    ratios = [ratio_for("random", t / 1000, length) for t in range(1, 1001)]
    found = [length * log_p[int(mask_pattern(MaskDraw(3, ratio), length).sum())] for ratio in ratios]
    assert float(np.mean(found)) == pytest.approx(bound, abs=1e-12)

"""The paired tests against scipy, and the intervals against what they promise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from rl.statistics import bootstrap_interval, mcnemar, paired_bootstrap
from rl.tracking.intervals import WILSON, interval


@pytest.mark.parametrize("first", [0, 1, 2, 5, 17, 120])
def test_mcnemar_is_scipys_binomial_test_of_the_changed(first: int) -> None:
    for second in (0, 1, 3, 5, 30, 121):
        expected = stats.binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
        assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)
        assert mcnemar(first, second) == mcnemar(second, first)


def test_mcnemar_of_a_thousand_changed_prompts() -> None:
    assert mcnemar(4000, 4300) == pytest.approx(stats.binomtest(4000, 8300, 0.5).pvalue, rel=1e-9)
    with pytest.raises(ValueError, match="counts"):
        mcnemar(-1, 2)


def test_mcnemar_rejects_no_more_often_than_it_says() -> None:
    """Under no difference, over all outcomes of 40 changed prompts."""
    chances = [(stats.binom.pmf(first, 40, 0.5), mcnemar(first, 40 - first)) for first in range(41)]
    for level in (0.01, 0.05, 0.2):
        assert sum(chance for chance, p in chances if p <= level) <= level


def test_the_bootstrap_is_scipys() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=150)
    low, high = bootstrap_interval(values, draws=9999)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(1))
    spread = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.03 * spread)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.03 * spread)
    assert bootstrap_interval(values) == bootstrap_interval(values) != bootstrap_interval(values, seed=1)


def test_the_paired_p_value_is_near_that_of_students_paired_test() -> None:
    chance = np.random.default_rng(0)
    for shift in (0.0, 0.05, 0.1, 0.2):
        first = chance.random(200)
        second = first + shift + chance.normal(0, 0.5, 200)
        low, high, p = paired_bootstrap(first.tolist(), second.tolist(), draws=5000)
        assert p == pytest.approx(stats.ttest_rel(second, first).pvalue, abs=0.03)
        assert (low <= 0 <= high) == (p > 0.05)


def test_equal_values_differ_by_nothing_and_one_pair_says_nothing() -> None:
    assert paired_bootstrap([0.1, 0.7], [0.1, 0.7]) == (0.0, 0.0, 1.0)
    for first, second in (([1.0], [0.0]), ([1.0, 2.0], [1.0])):
        with pytest.raises(ValueError, match="must be"):
            paired_bootstrap(first, second)


@pytest.mark.parametrize(("n", "p"), list(itertools.product((200, 500, 1319), (0.25, 0.65))))
def test_95_of_100_wilson_intervals_hold_the_truth_within_one(n: int, p: float) -> None:
    """20,000 evaluations of n prompts: the share has a standard error of 0.15 points. Equal counts have one interval."""
    counts = np.bincount(np.random.default_rng(n).binomial(n, p, 20_000), minlength=n + 1)
    held = 0
    for right in np.flatnonzero(counts):
        found = interval([[float(index < right)] for index in range(n)])
        assert found is not None and found.method == WILSON
        held += int(counts[right]) * (found.low <= p <= found.high)
    assert abs(held / 20_000 - 0.95) <= 0.01


def test_95_of_100_bootstrap_intervals_hold_the_truth_within_one() -> None:
    """1,500 evaluations of 200 prompts with uneven scores: a standard error of 0.56 points."""
    chance, held = np.random.default_rng(2), 0
    for _ in range(1500):
        low, high = bootstrap_interval(chance.beta(0.8, 0.5, 200), draws=500)
        held += low <= 0.8 / 1.3 <= high
    assert abs(held / 1500 - 0.95) <= 0.01


def test_95_of_100_intervals_of_several_samples_a_prompt_hold_the_truth_within_one() -> None:
    chance, held = np.random.default_rng(3), 0
    for _ in range(2000):
        rates = chance.beta(2, 2, 300)
        found = interval((chance.random((300, 4)) < rates[:, None]).astype(float).tolist())
        assert found is not None
        held += found.low <= 0.5 <= found.high
    assert abs(held / 2000 - 0.95) <= 0.01

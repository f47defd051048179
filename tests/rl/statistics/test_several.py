"""pass@k and maj@k against the definition: every subset of k samples, one by one."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.statistics import maj_at_k, pass_at_k


def subsets(n: int, k: int) -> list[tuple[int, ...]]:
    return list(itertools.combinations(range(n), k))


@pytest.mark.parametrize("n", range(1, 9))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(n: int) -> None:
    for right, k in itertools.product(range(n + 1), range(1, n + 1)):
        passed = [any(index < right for index in chosen) for chosen in subsets(n, k)]
        assert pass_at_k(n, right, k) == pytest.approx(sum(passed) / len(passed), abs=1e-12)


def test_pass_at_k_keeps_its_digits_where_binomials_overflow() -> None:
    exact = 1 - math.comb(9990, 5000) / math.comb(10_000, 5000)  # of whole numbers with 3,000 digits
    assert pass_at_k(10_000, 10, 5000) == pytest.approx(exact, rel=1e-12)
    assert pass_at_k(100_000, 1, 1) == pytest.approx(1e-5, rel=1e-9)
    assert pass_at_k(1000, 0, 1000) == 0.0 and pass_at_k(1000, 1, 1000) == 1.0


def test_pass_at_k_is_unbiased_for_what_it_estimates() -> None:
    chance, p, k = np.random.default_rng(0), 0.3, 4
    found = [pass_at_k(10, int(right), k) for right in chance.binomial(10, p, 20_000)]
    assert np.mean(found) == pytest.approx(1 - (1 - p) ** k, abs=4 * float(np.std(found)) / math.sqrt(len(found)))


def majority(votes: list[int | None], right: list[float], k: int) -> float:
    """By the words of the docstring, for every subset."""
    worth = {vote: np.mean([r for v, r in zip(votes, right, strict=True) if v == vote]) for vote in votes}
    found = []
    for chosen in subsets(len(votes), k):
        counts = Counter(votes[index] for index in chosen if votes[index] is not None)
        most = max(counts.values(), default=0)
        winners = [vote for vote, count in counts.items() if count == most]
        found.append(np.mean([worth[vote] for vote in winners]) if winners else 0.0)
    return float(np.mean(found))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([None, 0, 1, 2, 3]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=8))
def test_maj_at_k_is_the_vote_of_every_subset(samples: list[tuple[int | None, float]]) -> None:
    votes, right = [vote for vote, _ in samples], [value for _, value in samples]
    for k in range(1, len(votes) + 1):
        assert maj_at_k(votes, right, k) == pytest.approx(majority(votes, right, k), abs=1e-12)


def test_ties_share_and_the_silent_do_not_vote() -> None:
    assert maj_at_k([0, 1], [1.0, 0.0], 2) == 0.5
    assert maj_at_k([0, 1, 2], [1.0, 0.0, 0.0], 3) == pytest.approx(1 / 3)
    assert maj_at_k([0, None, None], [1.0, 0.0, 0.0], 3) == 1.0
    assert maj_at_k([None, None], [0.0, 0.0], 2) == 0.0
    assert maj_at_k([0, 0, 1], [1.0, 1.0, 0.0], 3) == 1.0


def test_sixty_four_different_answers_take_no_enumeration() -> None:
    assert maj_at_k(list(range(64)), [1.0] + [0.0] * 63, 32) == pytest.approx(1 / 64)
    assert maj_at_k([0] * 40 + list(range(1, 25)), [1.0] * 40 + [0.0] * 24, 64) == 1.0


@pytest.mark.parametrize(("n", "right", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4), (0, 0, 1)])
def test_impossible_counts_are_refused(n: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        pass_at_k(n, right, k)
    with pytest.raises(ValueError, match="must be"):
        maj_at_k([0] * n, [0.0] * (n + 1), k)

"""One prompt with several samples: pass@k and maj@k, exactly, from n samples of which k are looked at.

Both are the mean over all subsets of k of the n samples. So they are unbiased for any k up to n, and no subset is drawn.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce


def pass_at_k(n: int, right: int, k: int) -> float:
    """The chance that at least one of k samples is right, where ``right`` of n are (arXiv 2107.03374, section 2.1).

    ``1 - C(n - right, k) / C(n, k)`` as a product of factors of at most 1: it neither overflows nor cancels. Raises
    ValueError unless ``0 <= right <= n`` and ``1 <= k <= n``.
    """
    if not (0 <= right <= n and 1 <= k <= n):
        raise ValueError(f"pass@k: n={n}, right={right}, k={k}: must be 0 <= right <= n and 1 <= k <= n")
    if n - right < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / count for count in range(n - right + 1, n + 1))


def maj_at_k(votes: Sequence[int | None], right: Sequence[float], k: int) -> float:
    """How often the answer that most of k samples give is right (self-consistency, arXiv 2203.11171).

    votes  [n] the same number for answers that are equal; None: the sample gives no answer, and does not vote
    right  [n] each sample's 0 or 1; an answer counts the mean of the samples that give it

    Tied answers share the vote evenly: what a draw among them gives on average. Where no sample votes, it is 0. Raises
    ValueError unless ``1 <= k <= n``.
    """
    n = len(votes)
    if len(right) != n or not 1 <= k <= n:
        raise ValueError(f"maj@k: {n} votes, {len(right)} values, k={k}: must be as many, and 1 <= k <= n")
    members: dict[int, list[float]] = defaultdict(list)
    for vote, value in zip(votes, right, strict=True):
        if vote is not None:
            members[vote].append(value)
    silent, wins = n - sum(map(len, members.values())), Fraction(0)
    for answer, values in members.items():
        if any(values):
            others = [len(each) for other, each in members.items() if other != answer]
            wins += Fraction(math.fsum(values) / len(values)) * _won(len(values), others, silent, k)
    return float(wins / math.comb(n, k))


def _won(own: int, others: Sequence[int], silent: int, k: int) -> Fraction:
    """Of how many subsets of k this answer, given by ``own`` samples, wins the vote; a tie of t answers counts 1/t."""
    found = Fraction(0)
    for votes in range(1, min(own, k) + 1):
        for tied, ways in _at_most(others, votes, silent, k - votes).items():
            found += Fraction(math.comb(own, votes) * ways, tied + 1)
    return found


def _at_most(others: Sequence[int], most: int, silent: int, size: int) -> dict[int, int]:
    """Number of ties -> how many subsets of that size give no other answer more than ``most`` votes. As coefficients of a
    product of polynomials, one an answer: the power of x counts samples."""
    start = {0: [math.comb(silent, count) for count in range(size + 1)]}
    product = reduce(lambda ties, own: _times(ties, own, most, size), others, start)
    return {tied: row[size] for tied, row in product.items() if row[size]}


def _times(ties: dict[int, list[int]], own: int, most: int, size: int) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for tied, row in ties.items():
        for votes in range(min(own, most, size) + 1):
            into = found.setdefault(tied + (votes == most), [0] * (size + 1))
            ways = math.comb(own, votes)
            for count in range(size + 1 - votes):
                into[count + votes] += row[count] * ways
    return found

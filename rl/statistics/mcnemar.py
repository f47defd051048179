"""Two policies on the same prompts, each answer right or wrong."""

from __future__ import annotations


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test (Psychometrika 12, 1947): no difference between the two.

    only_first, only_second  prompts that one of them alone has right. Prompts that both have right, or wrong, say nothing.

    Under no difference a changed prompt goes either way with chance 1/2, so the smaller count is binomial: twice its lower
    tail, at most 1. Exact means without mid-p: the test errs to the side of no difference. Raises ValueError below 0.
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"mcnemar: {only_first} and {only_second}: must be counts")
    changed, fewer = only_first + only_second, min(only_first, only_second)
    tail, ways = 0, 1  # C(changed, count), each from the one before
    for count in range(fewer + 1):
        tail, ways = tail + ways, ways * (changed - count) // (count + 1)
    return min(1.0, 2 * tail / 2**changed)

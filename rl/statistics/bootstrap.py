"""Intervals of means by resampling (Efron and Tibshirani, An Introduction to the Bootstrap, 1993)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rl.seeds import derive_seed

DRAWS = 2000
_CELLS = 1 << 22  # numbers that are held at once


def bootstrap_interval(
    values: Sequence[float] | np.ndarray, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """The percentile interval of the mean. values [n]: one number a prompt, n at least 2; the same seed gives the same
    interval.

    Samples of one prompt are alike: hand in their mean, so that prompts are what is resampled. Raises ValueError.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2 or not 0 < level < 1:
        raise ValueError(f"bootstrap: values of shape {found.shape}, level={level}: must be 2 or more, and 0 to 1")
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(_means(found, draws, seed), [tail, 100 - tail])
    return float(low), float(high)


def paired_bootstrap(
    first: Sequence[float], second: Sequence[float], *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float, float]:
    """Interval of the mean of ``second - first`` over pairs, and the two-sided p-value of no difference.

    The p-value asks how often the mean of resampled differences, moved so that their mean is 0, is as far from 0 as the
    one that was found. It counts that one too, so that it is never 0. Raises ValueError unless there are as many, 2 or more.
    """
    if len(first) != len(second):
        raise ValueError(f"paired bootstrap: {len(first)} and {len(second)} values: must be as many")
    gaps = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    low, high = bootstrap_interval(gaps, level=level, draws=draws, seed=seed)
    centre, size = gaps.mean(), np.abs(gaps).max()
    means = _means(gaps - centre, draws, seed)
    farther = np.abs(means) >= abs(centre) - 1e-12 * size
    return low, high, float((1 + farther.sum()) / (1 + draws))


def _means(values: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """[draws]"""
    generator = np.random.Generator(np.random.Philox(key=derive_seed(seed, "bootstrap")))
    rows = max(1, _CELLS // len(values))
    parts = [
        values[generator.integers(0, len(values), (min(rows, draws - start), len(values)))].mean(axis=1)
        for start in range(0, draws, rows)
    ]
    return np.concatenate(parts)

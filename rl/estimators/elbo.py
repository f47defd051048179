"""The evidence lower bound by Monte Carlo, with 1/t weights, and less noise for the same number of passes.

``ELBO = E[L/l * sum over a random set of l hidden tokens of log p]`` with l uniform over 1..L (LLaDA, arXiv 2502.09992,
equation 6: the form with an exact count, whose variance is lower than with each token hidden at random). One mask for
each l, and the same masks for the policy, the old one and the reference, as VRPO asks (LLaDA 1.5, arXiv 2505.19223,
section 3.2) and ESPO does (arXiv 2512.03759, section 4.3). K passes: ``learner.algorithm.estimator_samples``.
"""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Estimator, EstimatorConfig, Views
from rl.seeds import shuffled, uniforms
from rl.types import MaskDraw


def independent_views(draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig) -> Views:
    """K independent counts and masks. K: 1 by default."""
    samples, length = config.estimator_samples or 1, len(step_map)
    where, bits = uniforms(draw.seed, samples)
    counts = np.floor(where * length).astype(int) + 1
    return weigh([shuffled(bits, length)[:count] for count in counts], length)


def stratified_views(draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig) -> Views:
    """K counts, one in each K-th of 1..L, from one random offset; masks are independent. K: 2 by default."""
    samples, length = config.estimator_samples or 2, len(step_map)
    where, bits = uniforms(draw.seed, 1)
    counts = np.floor((np.arange(samples) + where) / samples * length).astype(int) + 1
    return weigh([shuffled(bits, length)[:count] for count in counts], length)


def antithetic_views(draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig) -> Views:
    """Stratified pairs of masks that complement each other: the first l of a random order, and its last L+1-l.

    l and L+1-l are both uniform over 1..L, so the pair is as unbiased as two independent masks. Every token is scored
    by one of the two, and one token by both. K is even: 2 by default.
    """
    pairs, length = max(1, (config.estimator_samples or 2) // 2), len(step_map)
    where, bits = uniforms(draw.seed, 1)
    chosen: list[np.ndarray] = []
    for count in np.floor((np.arange(pairs) + where) / pairs * length).astype(int) + 1:
        order = shuffled(bits, length)
        chosen += [order[:count], order[count - 1 :]]
    return weigh(chosen, length)


def weigh(chosen: list[np.ndarray], length: int) -> Views:
    """Hide and score the chosen positions of each pass, with weight L/(K l)."""
    hidden = np.zeros((len(chosen), length), dtype=bool)
    for row, positions in zip(hidden, chosen, strict=True):
        row[positions] = True
    return Views(hidden, (hidden / (hidden.mean(1, keepdims=True) * len(chosen))).astype(np.float32))


ELBO = Estimator(independent_views, even=True)
ELBO_STRATIFIED = Estimator(stratified_views, even=True)
ELBO_ANTITHETIC = Estimator(antithetic_views, pairs=True, even=True)

"""Steps of the sampler's path drawn by their surprisal, with importance weights (after RLDF, arXiv 2605.25638)."""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Estimator, EstimatorConfig, Revealed, Views
from rl.estimators.weighted_steps import chances, groups_of, known, weighted_views
from rl.types import MaskDraw

SAMPLES = 4  # RLDF's number
LEAST = 1e-10  # a smaller confidence counts as this


def surprisal_views(
    draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig, revealed: Revealed | None = None
) -> Views:
    """K passes, ``estimator_samples``, 4 by default. A step's chance p goes with exp of its tokens' mean surprisal,
    -log(confidence when it was revealed); its terms count 1 / (K p) for each time it was drawn. So the mean is the
    log-likelihood along the sampler's path.

    The choice of steps is that of RLDF's public trainer at its temperature of 1. What is scored is not: the trainer scores all
    tokens that were hidden before the step, leaves out those of a probability below 0.6 that the step did not reveal, draws
    without replacement, and has no importance weights. That is another quantity, and biased for this one.
    """
    group = groups_of(step_map, config.trajectory_shrink)
    confidence = known("trajectory_surprisal", revealed).confidence.astype(np.float64)
    surprisal = -np.log(np.clip(confidence, LEAST, 1.0))
    mean = np.bincount(group, surprisal) / np.bincount(group)
    chance = chances(np.exp(mean - mean.max()))
    return weighted_views(group, chance, config.estimator_samples or SAMPLES, draw)


TRAJECTORY_SURPRISAL = Estimator(surprisal_views, by_block=True, revealed=True, even=True)

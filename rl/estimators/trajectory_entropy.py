"""Steps of the sampler's path drawn by their entropy, with importance weights (AGRPO, arXiv 2510.04019)."""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Estimator, EstimatorConfig, Revealed, Views
from rl.estimators.weighted_steps import chances, groups_of, known, weighted_views
from rl.types import MaskDraw


def entropy_views(
    draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig, revealed: Revealed | None = None
) -> Views:
    """K passes, ``estimator_samples``, 1 by default. A step's chance p goes with the sum of its tokens' entropies when they were
    revealed; its terms count 1 / (K p) for each time it was drawn. So the mean is the log-likelihood along the sampler's path.

    As AGRPO's public trainer with ``importance_sampling=entropy`` and its low-discrepancy points. It adds 1e-8 to each
    step's entropy; here a tenth of all chances is spread evenly, which bounds the weights.
    """
    group = groups_of(step_map, config.trajectory_shrink)
    entropy = known("trajectory_entropy", revealed).entropy.astype(np.float64)
    chance = chances(np.bincount(group, np.maximum(entropy, 0.0)))
    return weighted_views(group, chance, config.estimator_samples or 1, draw)


TRAJECTORY_ENTROPY = Estimator(entropy_views, by_block=True, revealed=True, even=True)

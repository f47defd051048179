"""Exact left-to-right likelihood: the policy read as an autoregressive one (JustGRPO, arXiv 2601.15165)."""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Estimator, EstimatorConfig, Views
from rl.estimators.trajectory import in_order
from rl.types import MaskDraw


def left_to_right_views(draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig) -> Views:
    """A pass for each token: it and all after it are hidden, and it is scored. The sum is exact, at L passes.

    An image's codes go row by row. ``estimator_samples`` takes so many positions at random.
    """
    return in_order(np.arange(len(step_map)), 1, draw, config.estimator_samples)


LEFT_TO_RIGHT = Estimator(left_to_right_views, even=True)

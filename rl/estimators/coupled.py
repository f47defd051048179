"""Coupled masks: everything hidden, then a random mask and its complement (DiffuCoder, arXiv 2506.20639, section 4.3).

Every token is scored twice: once with nothing shown, and once with the other mask's tokens shown.
"""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Estimator, EstimatorConfig, Views
from rl.masking import mask_pattern
from rl.types import MaskDraw

TERMS = 1.5  # half a term of the full mask, and two halves of 1/t-weighted ones: 1.5 times a log-likelihood


def coupled_views(draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig) -> Views:
    """value_t = (log p(t | nothing) + log p(t | its mask's complement) / share of its mask) / 2.

    The public trainer hides each token with probability t and weights by 1/t and 1/(1-t); here the count is exact, so
    the weight is L/M and L/(L-M). A single token has no complement: the mask is then the full one.
    """
    length = len(step_map)
    ratio = min(max(draw.ratio, 1 / length), 1 - 1 / length) if length > 1 else 1.0
    mask = mask_pattern(MaskDraw(draw.seed, ratio), length)
    hidden = np.stack([np.ones(length, dtype=bool), mask, ~mask])
    share = hidden.mean(1, keepdims=True)
    weights = np.where(hidden, 0.5 / np.maximum(share, 1 / length), 0.0)
    return Views(hidden, weights.astype(np.float32), 1 / TERMS if length > 1 else 1.0)


COUPLED = Estimator(coupled_views, ratios=True, even=True)

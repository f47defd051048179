"""Every token from all but its own part of the response (stratified mask likelihood of DACA, arXiv 2605.16342)."""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Estimator, EstimatorConfig, Views
from rl.seeds import shuffled, uniforms
from rl.types import MaskDraw

PARTS = 4


def strata_views(draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig) -> Views:
    """The response is parted into K random parts of equal size, K = ``estimator_samples``, 4 by default, at most L; pass k hides
    and scores part k. Each token is scored once, with (K-1)/K of the others shown. K=1 is the full mask; K=L is the
    pseudo-likelihood. Biased: no order of writing shows so much to all tokens."""
    length = len(step_map)
    parts = min(length, config.estimator_samples or PARTS)
    part = np.empty(length, dtype=np.int64)
    part[shuffled(uniforms(draw.seed, 0)[1], length)] = np.arange(length) % parts
    hidden = part == np.arange(parts)[:, None]
    return Views(hidden, hidden.astype(np.float32))


STRATA = Estimator(strata_views)

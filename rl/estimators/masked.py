"""One pass, one random mask: UniGRPO (arXiv 2505.15809), Algorithm 1, random ratios, d1's full mask, the sampler's states.

They differ by ``learner.algorithm.schedule`` alone.
"""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Estimator, EstimatorConfig, Views
from rl.estimators.matched import matched_views
from rl.masking import SCHEDULES, mask_pattern
from rl.types import MaskDraw


def masked_views(draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig) -> Views:
    """M of L tokens are hidden and scored, each with weight 1; L/M times their sum estimates the whole.

    Over ratios that are uniform, this is the evidence lower bound (LLaDA, arXiv 2502.09992, equations 5 and 6); at a
    ratio of 1 it is d1's mean-field estimate (arXiv 2504.12216, section 3.2), exact and biased.
    """
    states = SCHEDULES[config.schedule].states
    if states is not None and len(step_map):
        return matched_views(draw, step_map, states)
    hidden = mask_pattern(draw, len(step_map))[None]
    return Views(hidden, hidden.astype(np.float32), len(step_map) / max(1, int(hidden.sum())))


MASKED = Estimator(masked_views, ratios=True, states=True, even=True)

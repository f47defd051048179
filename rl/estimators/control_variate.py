"""A control variate for any estimate whose masks are drawn: the same tokens with everything hidden."""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Views

ROUNDING = 1e-6  # of sums of float32 weights: a smaller weight is none


def controlled(views: Views, coefficient: float) -> Views:
    """The estimate plus ``coefficient`` times (sum over all tokens of h_t - its own estimate from the same draw), where h_t is
    log p(token t | everything hidden). Scale 1.

    The second factor has a mean of 0 over the draws wherever ``Estimator.even`` holds, whatever h is. So the estimate has the
    mean that it had, and so has its gradient, at every coefficient. Where the terms of masks go up and down with h, the noise
    of which tokens were drawn falls. One pass more, which scores all tokens: policies that see the whole sequence share it
    between the rollouts of a group.
    """
    drawn = views.scale * views.weights.astype(np.float64)
    left = coefficient * (1 - drawn.sum(0))
    left[np.abs(left) < ROUNDING] = 0.0
    if not left.any():
        return views
    hidden = np.concatenate([np.ones((1, len(left)), dtype=bool), views.hidden])
    return Views(hidden, np.concatenate([left[None], drawn]).astype(np.float32))

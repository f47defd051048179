"""The evidence lower bound by Gauss-Legendre quadrature over the mask ratio (GDPO, arXiv 2510.08554).

The bound is an integral over the ratio t of a smooth function; its value at few fixed nodes gives most of it, so that only
the choice of the hidden tokens is left to chance.
"""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Estimator, EstimatorConfig, Views
from rl.estimators.elbo import weigh
from rl.seeds import shuffled, uniforms
from rl.types import MaskDraw

NODES = 3  # GDPO's number


def quadrature_views(draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig) -> Views:
    """One mask a node t_k of ``estimator_samples`` nodes in (0, 1), 3 by default; its weight is w_k / t_k, with t_k the share of
    the tokens that is hidden in fact. Biased where the bound is no polynomial of t, and where L is small: t_k L is rounded."""
    length = len(step_map)
    nodes, weights = np.polynomial.legendre.leggauss(config.estimator_samples or NODES)
    counts = np.clip(np.floor((nodes + 1) / 2 * length + 0.5), 1, length).astype(int)
    bits = uniforms(draw.seed, 0)[1]
    views = weigh([shuffled(bits, length)[:count] for count in counts], length)
    return Views(views.hidden, (views.weights * (weights * len(weights) / 2)[:, None]).astype(np.float32))


QUADRATURE = Estimator(quadrature_views, even=True)

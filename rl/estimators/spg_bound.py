"""SPG's values: lower and upper bounds of a log-likelihood, by the sign of the advantage (arXiv 2510.09541, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from rl.estimators.base import EstimatorConfig, weighted_sum


def sandwich(logp: Tensor, weights: Tensor, advantages: Tensor, config: EstimatorConfig) -> Tensor:
    """The evidence lower bound where the advantage is 0 or more; else a mixture with the evidence upper bound.

    The upper bound of a token is ``1/beta * log(sum over passes of weight * p^beta)`` and the mixture is
    ``spg_mixture * upper + (1 - spg_mixture) * lower`` (section 3). Tokens that no pass hid have no upper bound: the
    others' is scaled up to the whole response.
    """
    lower = weighted_sum(logp, weights, advantages, config)
    scored = weights > 0
    covered = scored.any(0)
    # A token that no pass scored would give log(0), whose gradient is not finite: select before, not after.
    terms = torch.where(scored, config.spg_beta * logp + weights.to(logp.dtype).clamp(min=1e-30).log(), -torch.inf)
    safe = torch.where(covered, terms, 0.0)
    upper = torch.where(covered, torch.logsumexp(safe, 0) / config.spg_beta, 0.0)
    mixed = config.spg_mixture * upper * _whole(weights, covered) + (1 - config.spg_mixture) * lower
    return torch.where((advantages >= 0)[:, None], lower, mixed)


def _whole(weights: Tensor, covered: Tensor) -> Tensor:
    """[b, 1] response tokens over covered ones: a pass's weights sum to L/K, whatever it hides."""
    length = weights.sum((0, 2))
    return (length / covered.sum(1).clamp(min=1)).to(weights.dtype)[:, None]

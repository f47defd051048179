"""Sandwiched bounds: a lower bound for what should rise, an upper one for what should fall (SPG, arXiv 2510.09541)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rl.estimators.base import EstimatorConfig, Views, shuffled, uniforms, weighted_sum
from rl.estimators.elbo import stratified_views, weigh
from rl.types import MaskDraw


def spg_views(draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig) -> Views:
    """K masks (2 by default): of the whole response, or by blocks where its task has a block length."""
    if draw.block_length is None:
        return stratified_views(draw, step_map, config)
    return block_views(draw, len(step_map), draw.block_length, config)


def block_views(draw: MaskDraw, length: int, block: int, config: EstimatorConfig) -> Views:
    """A random block a pass: some of it is hidden, all after it too, and what is before it is shown (section 3.3).

    A semi-autoregressive sampler sees such sequences. How many of the block's tokens are hidden is uniform over 1 to all.
    Before it, each token is hidden with ``prompt_mask_prob``, as the prompt's are. All hidden tokens are scored, as in the
    public trainer. Passes take different blocks as long as there are any.
    """
    samples, blocks = config.estimator_samples or 2, -(-length // block)
    where, bits = uniforms(draw.seed, samples)
    order, chosen = shuffled(bits, blocks), []
    for index, share in enumerate(where):
        first = int(order[index % blocks]) * block
        size = min(block, length - first)
        inside = first + shuffled(bits, size)[: int(share * size) + 1]
        before = np.flatnonzero(uniforms(int(bits.random_raw()), first)[0] < config.prompt_mask_prob)
        chosen.append(np.concatenate([before, inside, np.arange(first + size, length)]))
    return weigh(chosen, length)


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

"""Sandwiched bounds: a lower bound for what should rise, an upper one for what should fall (SPG, arXiv 2510.09541)."""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Estimator, EstimatorConfig, Views
from rl.estimators.elbo import stratified_views, weigh
from rl.seeds import shuffled, uniforms
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


SPG = Estimator(spg_views, "rl.estimators.spg_bound:sandwich", blocks=True)

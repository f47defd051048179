"""Masks that are states of the sampler: what is hidden and scored is what a denoising step found masked.

A sampler of few steps never sees most masks. Its states have a level, as many tokens as were still masked before one of its
steps; and blocks: those before the one it works on are written, those after it are masked and nobody asks for them.
"""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Views
from rl.masking import States, mask_pattern
from rl.types import MaskDraw


def blocks_at(positions: np.ndarray, size: int) -> tuple[int, ...]:
    """Tokens in each block of a block-causal policy, in order: its blocks count from position 0 of the whole sequence, so that a
    response begins in the middle of one. positions: [L] of the response's tokens."""
    return tuple(np.unique(positions // size, return_counts=True)[1].tolist())


def matched_views(draw: MaskDraw, step_map: np.ndarray, states: States) -> Views:
    """One pass in one state of the sampler. ``draw.ratio`` of the response's L tokens, rounded up to the next state, are yet to
    be written; the M of them that are in the block of that state are scored, each with weight 1; L/M times their sum is the
    estimate.

    A state is so as likely as the share of tokens that its step revealed. Over uniform ratios and random choices of the
    hidden tokens, the mean is then the log-likelihood along the sampler's path, averaged over the orders inside the blocks:
    of any sampler that reveals at random. Two special cases: one step hides all (``schedule=full``), and one token a step in one
    block hides each count equally often (``schedule=random``). With ``states.sampled`` the order is the sampler's own.
    """
    length = len(step_map)
    blocks = (
        np.repeat(np.arange(len(draw.blocks)), draw.blocks) if states.blocks and draw.blocks else np.zeros(length, int)
    )
    steps = step_map if states.levels else np.arange(length)
    hidden = int(np.ceil(round(draw.ratio * length, 9)))
    left = np.sort(steps)[length - hidden]  # the earliest step whose tokens are hidden
    block = blocks[np.flatnonzero(steps == left)[0]]
    inside = np.flatnonzero(blocks == block)
    late = inside[steps[inside] >= left]
    scored = np.zeros(length, dtype=bool)
    if states.sampled:
        scored[late] = True
    else:
        scored[inside] = mask_pattern(MaskDraw(draw.seed, len(late) / len(inside)), len(inside))
    return Views((scored | (blocks > block))[None], scored[None].astype(np.float32), length / int(scored.sum()))

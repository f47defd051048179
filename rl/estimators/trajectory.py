"""The sampler's own path: each token scored as it was revealed (TraceRL, arXiv 2509.06949, section 4.2)."""

from __future__ import annotations

import numpy as np

from rl.estimators.base import Estimator, EstimatorConfig, Views
from rl.seeds import shuffled, uniforms
from rl.types import MaskDraw


def trajectory_views(draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig) -> Views:
    """One pass for each ``trajectory_shrink`` neighbouring steps: what they revealed, given what was there before.

    Without shrinking this is the probability of the tokens along the path that was sampled. Where the canvas beyond the
    end of a text was cut off, the policy sees the shorter sequence. step_map: for a block-causal policy ``within_blocks``,
    as TraceRL slices the trajectories of such policies: no more passes than a block has steps.
    """
    return in_order(step_map, config.trajectory_shrink, draw, config.estimator_samples)


def within_blocks(steps: np.ndarray, positions: np.ndarray, size: int) -> np.ndarray:
    """Each token's step among those of its own block, from 0.

    steps, positions  [L] of the response's tokens; blocks are counted from position 0 of the whole sequence
    """
    blocks = positions // size
    order = np.lexsort((steps, blocks))
    block, step = blocks[order], steps[order]
    begins = np.append(True, block[1:] != block[:-1])
    later = np.append(False, step[1:] != step[:-1]) & ~begins
    count = np.cumsum(later)
    first = np.maximum.accumulate(np.where(begins, np.arange(len(steps)), 0))
    found = np.empty_like(steps)
    found[order] = count - count[first]
    return found


def in_order(steps: np.ndarray, shrink: int, draw: MaskDraw, samples: int | None) -> Views:
    """One pass for each group of ``shrink`` steps: the group is scored, and what comes later is hidden as well.

    samples   take so many groups at random, each with weight groups/samples, instead of all; None takes all
    """
    group = np.unique(steps, return_inverse=True)[1] // shrink
    count = int(group.max()) + 1
    chosen = np.arange(count)
    if samples is not None and samples < count:
        chosen = np.sort(shuffled(uniforms(draw.seed, 0)[1], count)[:samples])
    scored = group == chosen[:, None]
    return Views(group >= chosen[:, None], (scored * (count / len(chosen))).astype(np.float32))


TRAJECTORY = Estimator(trajectory_views, by_block=True, even=True)

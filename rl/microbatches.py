"""One batch -> the padded tensors of each optimizer step, so that the learner's passes do no per-rollout work.

A step's rollouts are cut into mini-batches in order; a mini-batch is shared out over the ranks; a rank's share is cut
into micro-batches of similar length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rl.masking import mask_pattern
from rl.types import Modality, Task, TrainBatch

DRAWING = (Task.DRAW, Task.THINK_DRAW)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """b rollouts, padded on the right.

    token_ids   [b, L] int64
    attention   [b, L] bool, False at padding; None where nothing is padded
    masks       [N, b, L] bool: the masked tokens of each inner update
    advantages  [b] float32
    lengths     [b] int64: response tokens
    weights     [b] float32: share in the mean over the mini-batch
    draws       [b, L] bool: where an image's sampler wrote
    """

    token_ids: Tensor
    attention: Tensor | None
    masks: Tensor
    advantages: Tensor
    lengths: Tensor
    weights: Tensor
    draws: Tensor


def mini_batches(batch: TrainBatch, mini_batch_size: int | None) -> list[range]:
    """Rollouts of each optimizer step, in order; the last may be smaller. None: all in one."""
    size = mini_batch_size or len(batch)
    return [range(first, min(first + size, len(batch))) for first in range(0, len(batch), size)]


def plan(
    lengths: np.ndarray, mini_batch: range, size: int, rank: int, world_size: int
) -> list[list[tuple[int, float]]]:
    """This rank's micro-batches of a mini-batch: lists of (rollout, weight), of at most ``size`` rollouts each.

    Ranks take turns over the mini-batch, and all of them get the same number of micro-batches, since some engines
    synchronise at each. A rank with too few rollouts for that fills up with one of weight 0. The weights of all ranks
    together add up to 1. lengths [B]: tokens of each rollout; neighbours in length share a micro-batch.
    """
    count = -(-len(range(0, len(mini_batch), world_size)) // size)
    share = [(rollout, 1 / len(mini_batch)) for rollout in mini_batch[rank::world_size]]
    share += [(mini_batch[0], 0.0)] * (count - len(share))
    share.sort(key=lambda entry: (lengths[entry[0]], entry[0]))
    cuts = [len(share) * part // count for part in range(count + 1)]
    return [share[first:last] for first, last in zip(cuts, cuts[1:], strict=False)]


def collate(batch: TrainBatch, entries: list[tuple[int, float]], device: torch.device) -> MicroBatch:
    """The tensors of one micro-batch. A mask draw's pattern is laid over the response tokens, in their order."""
    rollouts = [rollout for rollout, _ in entries]
    sizes = np.array([len(batch.token_ids[rollout]) for rollout in rollouts])
    token_ids = np.zeros((len(rollouts), sizes.max()), dtype=np.int64)
    masks = np.zeros((len(batch.mask_draws), *token_ids.shape), dtype=bool)
    responses = [np.flatnonzero(batch.response_mask[rollout]) for rollout in rollouts]
    for row, (rollout, response) in enumerate(zip(rollouts, responses, strict=True)):
        token_ids[row, : sizes[row]] = batch.token_ids[rollout]
        for n, draws in enumerate(batch.mask_draws):
            masks[n, row, response] = mask_pattern(draws[rollout], len(response))
    attention = np.arange(token_ids.shape[1]) < sizes[:, None]
    return MicroBatch(
        token_ids=torch.from_numpy(token_ids).to(device),
        attention=None if attention.all() else torch.from_numpy(attention).to(device),
        masks=torch.from_numpy(masks).to(device),
        advantages=torch.from_numpy(batch.advantages[rollouts]).to(device),
        lengths=torch.tensor([len(response) for response in responses], device=device),
        weights=torch.tensor([weight for _, weight in entries], dtype=torch.float32, device=device),
        draws=torch.from_numpy(_draws(batch, rollouts, token_ids.shape[1])).to(device),
    )


def _draws(batch: TrainBatch, rollouts: list[int], length: int) -> np.ndarray:
    """bool [b, L]: the image spans; without spans, all of a rollout whose task writes images."""
    draws = np.zeros((len(rollouts), length), dtype=bool)
    for row, rollout in enumerate(rollouts):
        spans = batch.spans[rollout] if batch.spans else ()
        draws[row] = not spans and batch.tasks[rollout] in DRAWING
        for span in spans:
            draws[row, span.start : span.stop] |= span.modality is Modality.IMAGE
    return draws

"""One batch -> the padded tensors of each optimizer step, so that the learner's passes do no per-rollout work.

A step's rollouts are cut into mini-batches in order; a mini-batch is shared out over the ranks; a rank's share is cut
into micro-batches of similar length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rl.config import UniGRPOConfig
from rl.estimators import ESTIMATORS, views_of
from rl.estimators.base import Revealed
from rl.estimators.matched import blocks_at
from rl.estimators.prompt import prompt_pattern
from rl.estimators.trajectory import within_blocks
from rl.masking import SCHEDULES
from rl.objectives.credit import credit_of
from rl.types import Modality, Task, TrainBatch

DRAWING = (Task.DRAW, Task.THINK_DRAW)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """b rollouts, padded on the right.

    token_ids     [b, L] int64
    attention     [b, L] bool, False at padding; None where nothing is padded
    hidden        [N, K, b, L] bool: the tokens that each of the K forward passes of an inner update hides
    term_weights  [N, K, b, L] float32: weight of each token's log-prob under that pass, 0 where it is not scored
    masks         [N, b, L] bool: the tokens that some pass of the inner update scores
    credit        [b, L] float32: what a token's part of the surrogate counts, with a mean of 1 over a response; None: 1
    scales        [N, b] float32: times the sum of a response's token values: the estimate of its log-likelihood
    advantages    [b] float32
    lengths       [b] int64: response tokens
    weights       [b] float32: share in the mean over the mini-batch
    is_image      [b, L] bool: where an image's sampler wrote
    staleness     [b] int64: how many weight versions ago each was sampled
    groups        [b] int64: which group of the batch each is of
    fresh         [N] whether inner update n's masks differ from those of update n - 1; on some rank, where ranks agreed
    collective    whether each pass is a collective, so that one that scores nothing is made all the same
    """

    token_ids: Tensor
    attention: Tensor | None
    hidden: Tensor
    term_weights: Tensor
    masks: Tensor
    scales: Tensor
    advantages: Tensor
    lengths: Tensor
    weights: Tensor
    is_image: Tensor
    staleness: Tensor
    groups: Tensor
    fresh: tuple[bool, ...]
    collective: bool = False
    credit: Tensor | None = None


def mini_batches(batch: TrainBatch, mini_batch_size: int | None) -> list[range]:
    """Rollouts of each optimizer step, in order; the last may be smaller. None: all in one."""
    size = mini_batch_size or len(batch)
    return [range(first, min(first + size, len(batch))) for first in range(0, len(batch), size)]


def plan(
    lengths: np.ndarray,
    mini_batch: range,
    size: int,
    rank: int,
    world_size: int,
    *,
    weights: np.ndarray | None = None,
    pairs: bool = False,
) -> list[list[tuple[int, float]]]:
    """This rank's micro-batches of a mini-batch: lists of (rollout, weight), of at most ``size`` rollouts each.

    Ranks take turns over the mini-batch, and all of them get the same number of micro-batches, since some engines
    synchronise at each. A rank with too few rollouts for that fills up with one of weight 0. The weights of all ranks
    together add up to 1. lengths [B]: tokens of each rollout; neighbours in length share a micro-batch.

    weights  [B] shares in the loss, relative to each other; None: equal ones
    pairs    rollouts 0 and 1, 2 and 3, ... stay together, in this order
    """
    unit = 2 if pairs else 1
    units = [mini_batch[first : first + unit] for first in range(0, len(mini_batch), unit)]
    count = -(-len(range(0, len(units), world_size)) * unit // max(unit, size // unit * unit))
    shares = _shares(mini_batch, weights)
    share = [(members, [shares[i] for i in members]) for members in units[rank::world_size]]
    share += [(units[0], [0.0] * unit)] * (count - len(share))
    share.sort(key=lambda entry: (max(lengths[i] for i in entry[0]), entry[0][0]))
    cuts = [len(share) * part // count for part in range(count + 1)]
    return [
        [entry for members, of_members in share[first:last] for entry in zip(members, of_members, strict=True)]
        for first, last in zip(cuts, cuts[1:], strict=False)
    ]


def _shares(mini_batch: range, weights: np.ndarray | None) -> dict[int, float]:
    """Each rollout's share in the mean over a mini-batch; all 0 where all weights are."""
    if weights is None:
        return dict.fromkeys(mini_batch, 1 / len(mini_batch))
    total = float(weights[mini_batch].sum()) or 1.0
    return {i: float(weights[i]) / total for i in mini_batch}


def collate(
    batch: TrainBatch,
    entries: list[tuple[int, float]],
    device: torch.device,
    algorithm: UniGRPOConfig,
    block: int | None = None,
) -> MicroBatch:
    """The tensors of one micro-batch. What an estimator hides is laid over the response tokens, in their order.

    block: the length of a block-causal policy's blocks
    """
    rollouts = [rollout for rollout, _ in entries]
    sizes = np.array([len(batch.token_ids[rollout]) for rollout in rollouts])
    token_ids = np.zeros((len(rollouts), sizes.max()), dtype=np.int64)
    for row, rollout in enumerate(rollouts):
        token_ids[row, : sizes[row]] = batch.token_ids[rollout]
    responses = [np.flatnonzero(batch.response_mask[rollout]) for rollout in rollouts]
    hidden, term_weights, scales = _lay_out(batch, rollouts, responses, token_ids.shape[1], algorithm, block)
    attention = np.arange(token_ids.shape[1]) < sizes[:, None]
    is_image = _is_image(batch, rollouts, token_ids.shape[1])
    return MicroBatch(
        token_ids=torch.from_numpy(token_ids).to(device),
        attention=None if attention.all() else torch.from_numpy(attention).to(device),
        hidden=torch.from_numpy(hidden).to(device),
        term_weights=torch.from_numpy(term_weights).to(device),
        masks=torch.from_numpy((term_weights != 0).any(1)).to(device),
        scales=torch.from_numpy(scales).to(device),
        advantages=torch.from_numpy(batch.advantages[rollouts]).to(device),
        lengths=torch.tensor([len(response) for response in responses], device=device),
        weights=torch.tensor([weight for _, weight in entries], dtype=torch.float32, device=device),
        is_image=torch.from_numpy(is_image).to(device),
        staleness=torch.tensor(
            [0 if batch.staleness is None else int(batch.staleness[rollout]) for rollout in rollouts], device=device
        ),
        groups=torch.tensor([0 if batch.groups is None else int(batch.groups[i]) for i in rollouts], device=device),
        fresh=_fresh(hidden, term_weights),
        credit=_credit(batch, rollouts, responses, is_image, algorithm, device),
    )


def _credit(
    batch: TrainBatch,
    rollouts: list[int],
    responses: list[np.ndarray],
    is_image: np.ndarray,
    algorithm: UniGRPOConfig,
    device: torch.device,
) -> Tensor | None:
    if algorithm.structure_weight == 1:
        return None
    credit = np.zeros(is_image.shape, dtype=np.float32)
    for row, (rollout, response) in enumerate(zip(rollouts, responses, strict=True)):
        parts = is_image[row, response]  # a plan and its image each have an order of their own
        steps, of_response = batch.step_maps[rollout], np.ones(len(response))
        for part in (parts, ~parts):
            if part.any():
                of_response[part] = credit_of(steps[part], algorithm.structure_weight, algorithm.structure_share)
        credit[row, response] = of_response
    return torch.from_numpy(credit).to(device)


def _fresh(hidden: np.ndarray, term_weights: np.ndarray) -> tuple[bool, ...]:
    """[N, K, b, L] each -> [N]"""
    same = [all(np.array_equal(of[n], of[n - 1]) for of in (hidden, term_weights)) for n in range(1, len(hidden))]
    return (True, *(not equal for equal in same))


def _is_image(batch: TrainBatch, rollouts: list[int], length: int) -> np.ndarray:
    """bool [b, L]: the image spans; without spans, all of a rollout whose task writes images."""
    is_image = np.zeros((len(rollouts), length), dtype=bool)
    for row, rollout in enumerate(rollouts):
        spans = batch.spans[rollout] if batch.spans else ()
        is_image[row] = not spans and batch.tasks[rollout] in DRAWING
        for span in spans:
            is_image[row, span.start : span.stop] |= span.modality is Modality.IMAGE
    return is_image


def _revealed(batch: TrainBatch, rollout: int) -> Revealed | None:
    if not (batch.confidences and batch.entropies):
        return None
    return Revealed(batch.confidences[rollout], batch.entropies[rollout])


def _lay_out(
    batch: TrainBatch,
    rollouts: list[int],
    responses: list[np.ndarray],
    length: int,
    algorithm: UniGRPOConfig,
    block: int | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """hidden and term weights [N, K, b, L], scales [N, b]; rollouts with fewer passes than K have empty ones."""
    steps = [batch.step_maps[rollout] for rollout in rollouts]
    if block is not None and ESTIMATORS[algorithm.estimator].by_block:
        steps = [within_blocks(of, at, block) for of, at in zip(steps, responses, strict=True)]
    chosen = [[draws[rollout] for rollout in rollouts] for draws in batch.mask_draws]
    if block is not None and SCHEDULES[algorithm.schedule].states is not None:
        blocks = [blocks_at(at, block) for at in responses]
        chosen = [[replace(draw, blocks=own) for draw, own in zip(row, blocks, strict=True)] for row in chosen]
    revealed = [_revealed(batch, rollout) for rollout in rollouts]
    views = [
        [
            views_of(algorithm.estimator, draw, step_map, algorithm, told)
            for draw, step_map, told in zip(row, steps, revealed, strict=True)
        ]
        for row in chosen
    ]
    passes = max(len(view.hidden) for row in views for view in row)
    shape = (len(views), passes, len(rollouts), length)
    hidden, term_weights = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.float32)
    for n, row in enumerate(views):
        for i, (view, response) in enumerate(zip(row, responses, strict=True)):
            hidden[n, : len(view.hidden), i, response] = view.hidden.T
            term_weights[n, : len(view.hidden), i, response] = view.weights.T
            if algorithm.prompt_mask_prob:
                # A hint at the start of a response is no part of the prompt, and is always shown.
                end = (
                    batch.spans[rollouts[i]][0].start if batch.spans and batch.spans[rollouts[i]] else int(response[0])
                )
                prompt = prompt_pattern(batch.mask_draws[n][rollouts[i]], end, algorithm.prompt_mask_prob)
                hidden[n, : len(view.hidden), i, : len(prompt)] = prompt
    return hidden, term_weights, np.array([[view.scale for view in row] for row in views], dtype=np.float32)

"""Semi-autoregressive masked-diffusion sampling of text (LLaDA, arXiv 2502.09992, appendix B).

The canvas of mask tokens is filled block by block, left to right. In each denoising step every masked position of the
block gets a candidate, and the surest ones are kept: a fixed number, and with a threshold all that are sure enough
(Fast-dLLM, arXiv 2505.22618, section 3.3). The head, the softmax, the noise and the last layer are computed only for
the positions in play; a sequence that has ended leaves the batch. Any position of the canvas may be given. What the
positions in play see, and what of it is computed anew, is the business of ``policies.samplers.states``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from policies.base import Policy
from policies.noise import ORDER, TOKEN, uniforms
from policies.packed import packed
from policies.samplers.states import Shown, States, states_of
from policies.samplers.tokens import FREE, REMASKING, draw, keep_surest, penalise_repetition
from rl.types import Sample, TextSampling


@torch.inference_mode()
def sample_text(
    policy: Policy,
    prefix: Sequence[int],
    sampling: TextSampling,
    seeds: Sequence[int],
    suffix: Sequence[int] = (),
    given: Sequence[int] | None = None,
) -> list[Sample]:
    """One prompt, one response for each seed, as one batch. The response ends with its first end-of-text token.

    A block-causal policy fills its own blocks, counted from the first token of the prompt, and at an even pace: SDAR's
    block diffusion (arXiv 2510.06303, section 3). Raises PolicyError where the settings do not fit the policy.

    given  the canvas in place of ``max_new_tokens`` masks: vocabulary ids, and FREE where the sampler writes. No
           end-of-text is written before a given token, and ``step_map`` is -1 where a token was given.
    """
    canvas = [FREE] * sampling.max_new_tokens if given is None else list(given)
    states = states_of(policy, sampling, len(seeds))
    group = _Canvas(policy, prefix, canvas, seeds, suffix)
    steps = sampling.steps * states.block_length // sampling.max_new_tokens
    with packed(policy.module):
        for block, window in enumerate(windows(len(canvas), states.block_length, states.offset(len(prefix)))):
            for step, count in enumerate(states.pace(canvas[window].count(FREE), steps)):
                if count and not _denoise(group, states, sampling, window, block * steps + step, count):
                    break
            living = group.drop_finished(window.stop)
            if not len(living):
                break
            states.keep(living)
    return group.samples()


def windows(length: int, size: int, offset: int = 0) -> list[slice]:
    """The blocks of a canvas; ``offset`` tokens of the first one came before it."""
    cuts = [0, *range(size - offset, length, size), length]
    return [slice(*pair) for pair in pairwise(cuts)]


def _denoise(group: _Canvas, states: States, sampling: TextSampling, window: slice, step: int, count: int) -> bool:
    """One step for the members that have masks left in the window. False where none has: the window is full."""
    with_threshold = sampling.confidence_threshold is not None
    ids, seeds, members = group.in_play(window, with_threshold)
    if not len(ids):
        return False
    rows = torch.zeros_like(ids, dtype=torch.bool)
    block = slice(group.start + window.start, group.start + window.stop)
    rows[:, block] = ids[:, block] == group.mask_id
    position = rows.nonzero()
    # Members differ in how many positions they have left only with a threshold: valid [B, M] says which are real.
    valid = _left_aligned(rows.sum(1)) if with_threshold else None
    positions = _padded(position[:, 1], valid, len(ids))
    shown = Shown(ids, rows, block, members)
    logits = _logits(group, states, sampling, shown, position)
    needed = {TOKEN: sampling.temperature > 0, ORDER: sampling.remasking == "random"}
    noise, order = (
        _flat(uniforms(seeds, step, positions - group.start, stream), valid) if used else logits.new_zeros(len(logits))
        for stream, used in needed.items()
    )
    tokens, probability = draw(logits, noise, sampling.temperature, sampling.top_k, sampling.top_p)
    confidence = _padded(REMASKING[sampling.remasking](logits, probability, order), valid, len(ids), filler=-1)
    keep = keep_surest(confidence, min(count, confidence.shape[1]))
    if sampling.confidence_threshold is not None:
        keep |= confidence >= sampling.confidence_threshold
    if valid is not None:
        keep &= valid
    group.write(members, positions, _padded(tokens, valid, len(ids)), keep, step)
    return True


def _logits(group: _Canvas, states: States, sampling: TextSampling, shown: Shown, position: Tensor) -> Tensor:
    """[M, V], -inf for what may not be written there."""
    # Until the first token is written all members are the same sequence: compute it once.
    same, group.untouched = group.untouched, False
    copies, ids = len(shown.ids) if same else 1, shown.ids[:1] if same else shown.ids
    logits = group.policy.head(states.hidden(shown.first() if same else shown), image=False)
    if sampling.repetition_penalty != 1:
        owners = position[: len(logits), 0]
        logits = penalise_repetition(logits, ids, owners, group.mask_id, sampling.repetition_penalty)
    logits[:, group.mask_id] = -torch.inf
    if group.no_end_before > 0:
        logits[position[: len(logits), 1] - group.start < group.no_end_before, group.eos_id] = -torch.inf
    return logits.repeat(copies, 1) if same else logits


def _left_aligned(counts: Tensor) -> Tensor:
    """counts [B] -> bool [B, max count]: each row's first ``count``."""
    return torch.arange(int(counts.max()), device=counts.device) < counts[:, None]


def _padded(flat: Tensor, valid: Tensor | None, members: int, filler: int = 0) -> Tensor:
    """[M] in row-major order -> [B, widest], the filler where it is not valid."""
    if valid is None:
        return flat.view(members, -1)
    return flat.new_full(valid.shape, filler).masked_scatter_(valid, flat)


def _flat(padded: Tensor, valid: Tensor | None) -> Tensor:
    """The inverse of _padded."""
    return padded.flatten() if valid is None else padded[valid]


class _Canvas:
    """The sequences still being written, and where each came from."""

    def __init__(
        self, policy: Policy, prefix: Sequence[int], canvas: Sequence[int], seeds: Sequence[int], suffix: Sequence[int]
    ) -> None:
        device = next(policy.module.parameters()).device
        self.policy, self.start, self.length = policy, len(prefix), len(canvas)
        self.mask_id, self.eos_id = policy.vocabulary.mask_id, policy.vocabulary.eos_id
        row = [*prefix, *(self.mask_id if token == FREE else token for token in canvas), *suffix]
        self.all_ids = torch.tensor(row, device=device).repeat(len(seeds), 1)
        self.step_map = torch.full((len(seeds), len(canvas)), -1, dtype=torch.int32, device=device)
        self.seeds = torch.tensor(list(seeds), dtype=torch.int64, device=device)
        self.ids, self.alive = self.all_ids.clone(), torch.arange(len(seeds), device=device)
        self.untouched, self.no_end_before = True, _last_given(canvas, self.eos_id)

    def in_play(self, window: slice, ragged: bool) -> tuple[Tensor, Tensor, Tensor]:
        """ids, seeds and indices among the living of the members that still have masks in the window."""
        members = torch.arange(len(self.ids), device=self.ids.device)
        if not ragged:
            return self.ids, self.seeds, members
        left = self.ids[:, self.start + window.start : self.start + window.stop] == self.mask_id
        members = members[left.any(1)]
        return self.ids[members], self.seeds[members], members

    def write(self, members: Tensor, positions: Tensor, tokens: Tensor, keep: Tensor, step: int) -> None:
        row, place = keep.nonzero(as_tuple=True)
        rows, columns = members[row], positions[row, place]
        self.ids[rows, columns] = tokens[row, place]
        self.step_map[self.alive[rows], columns - self.start] = step

    def drop_finished(self, filled: int) -> Tensor:
        """Store what is written, and go on with the sequences that have not ended: which of the living they are."""
        self.all_ids[self.alive] = self.ids
        ended = (self.ids[:, self.start : self.start + filled] == self.eos_id).any(1)
        living = (~ended).nonzero().squeeze(1)
        if len(living) < len(ended):
            self.alive, self.ids, self.seeds = self.alive[living], self.ids[living], self.seeds[living]
        return living

    def samples(self) -> list[Sample]:
        ids = self.all_ids[:, self.start : self.start + self.length].cpu().numpy()
        steps = self.step_map.cpu().numpy()
        return [_until_end(row, row_steps, self.eos_id) for row, row_steps in zip(ids, steps, strict=True)]


def _last_given(canvas: Sequence[int], eos_id: int) -> int:
    """The last given position, or the first given end-of-text: text before it goes on until there. -1: none."""
    places = [place for place, token in enumerate(canvas) if token != FREE]
    ends = [place for place in places if canvas[place] == eos_id]
    return (ends or places[-1:] or [-1])[0]


def _until_end(token_ids: np.ndarray, step_map: np.ndarray, eos_id: int) -> Sample:
    ends = np.flatnonzero(token_ids == eos_id)
    length = int(ends[0]) + 1 if len(ends) else len(token_ids)
    return Sample(token_ids[:length].copy(), step_map[:length].copy(), complete=len(ends) > 0)

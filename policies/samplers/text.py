"""Semi-autoregressive masked-diffusion sampling of text (LLaDA, arXiv 2502.09992, appendix B).

The canvas of mask tokens is filled block by block, left to right. In each denoising step every masked position of the
block gets a candidate, and the surest ones are kept: a fixed number, and with a threshold all that are sure enough
(Fast-dLLM, arXiv 2505.22618, section 3.3). The head, the softmax, the noise and the last layer are computed only for
the positions in play; a sequence that has ended leaves the batch. Any position of the canvas may be given. What the
positions in play see, and what of it is computed anew, is the business of ``policies.samplers.states.base``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from policies.base import Policy
from policies.network.prepacked_weights import packed
from policies.network.rows import Rows
from policies.noise import ORDER, TOKEN, gumbel, uniforms
from policies.samplers import REMASKING, TEXT_SCHEDULES
from policies.samplers.states.base import Shown, states_of
from policies.samplers.tokens import (
    FREE,
    Candidates,
    candidates,
    copies,
    keep_surest,
    kept_places,
    penalise_repetition,
    seedless,
)
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

    A block-causal policy fills its own blocks, counted from the first token of the prompt: SDAR's block diffusion (arXiv
    2510.06303, section 3). The last one is filled to its end, as the policy was trained, and what lies behind the canvas is
    cut off. Raises PolicyError where the settings do not fit the policy.

    given  the canvas in place of ``max_new_tokens`` masks: vocabulary ids, and FREE where the sampler writes. No
           end-of-text is written before a given token, and ``step_map`` is -1 where a token was given.
    """
    if seedless(sampling) and len(seeds) > 1:
        return copies(sample_text(policy, prefix, sampling, seeds[:1], suffix, given)[0], len(seeds))
    written = [FREE] * sampling.max_new_tokens if given is None else list(given)
    model = _Model(policy, sampling, len(seeds), len(prefix))
    canvas = written + [FREE] * (0 if suffix else model.states.fill(len(prefix) + len(written)))
    group = _Canvas(policy, prefix, canvas, seeds, suffix)
    steps = sampling.steps * model.states.block_length // sampling.max_new_tokens
    shares = TEXT_SCHEDULES[model.habits.schedule].shares(steps) if model.rule.alone else [0.0] * steps
    with packed(policy.module):
        for block, window in enumerate(
            windows(len(canvas), model.states.block_length, model.states.offset(len(prefix)))
        ):
            left = canvas[window].count(FREE)
            for step, pace in enumerate(zip(model.states.pace(left, steps), shares, strict=True)):
                known = left if model.knows_what_is_left else None
                if any(pace) and not _denoise(group, model, window, block * steps + step, pace, known):
                    break
                left -= pace[0]
            living = group.drop_finished(window.stop)
            if not len(living):
                break
            model.keep(living)
    return group.samples(len(written))


def windows(length: int, size: int, offset: int = 0) -> list[slice]:
    """The blocks of a canvas; ``offset`` tokens of the first one came before it."""
    cuts = [0, *range(size - offset, length, size), length]
    return [slice(*pair) for pair in pairwise(cuts)]


def _denoise(
    group: _Canvas, model: _Model, window: slice, step: int, pace: tuple[int, float], left: int | None
) -> bool:
    """One step for the members that have masks left in the window. False where none has: the window is full.

    pace: how many tokens the step reveals at least, and the chance of each where the remasking rule decides on it alone.
    left: how many masks each member has there, None where that is not known, since members write at their own pace.
    Where it is known nothing is asked of the device: a GPU's host can be steps ahead.
    """
    block = slice(group.start + window.start, group.start + window.stop)
    shown, seeds = group.in_play(block, left)
    rows, positions = shown.rows, shown.rows.index
    if not rows.count:
        return False
    logits, sampling, rule = model.logits(group, shown), model.sampling, model.rule
    noise, order = (
        rows.flatten(uniforms(seeds, step, positions - group.start, stream)) if used else logits.new_zeros(len(logits))
        for stream, used in ((TOKEN, sampling.temperature > 0), (ORDER, model.order_is_noisy))
    )
    found = candidates(logits, noise, order, sampling, model.habits, model.unsure, model.never)
    certainty = found.certainty
    confidence = rows.pad(certainty, filler=-1)
    if rule.alone:
        keep = confidence < pace[1]
    else:
        if sampling.remask_temperature > 0:
            certainty = rule.noised(certainty) + sampling.remask_temperature * gumbel(order)
            certainty = certainty.clamp(
                min=torch.finfo(certainty.dtype).min
            )  # the log of 0: last, but before what is full
        keep = model.keep_surest(rows.pad(certainty, filler=-torch.inf), positions, shown, pace[0])
    if sampling.confidence_threshold is not None:
        keep |= confidence >= sampling.confidence_threshold
    if rows.flat is not None:
        keep &= rows.pad(torch.ones_like(found.tokens, dtype=torch.bool))
    group.write(shown.members, positions, rows.pad(found.tokens), keep, step)
    group.note(shown, found, keep, None if left is None else len(keep) * min(pace[0], keep.shape[1]))
    return True


class _Model:
    """The policy as the settings ask it: the states that it computes, its logits, and what they are read by."""

    def __init__(self, policy: Policy, sampling: TextSampling, members: int, start: int) -> None:
        self.policy, self.sampling, self.start = policy, sampling, start
        self.habits, self.rule = policy.habits.chosen(sampling), REMASKING[sampling.remasking]
        self.states = states_of(policy, sampling, members)
        self.blind = states_of(policy, sampling, members) if sampling.cfg_scale > 0 else None
        self.unsure = _ends(policy) if sampling.confidence_eos_eot_inf else ()
        self.whole_rank = self.habits.whole_rank or bool(self.unsure)  # what is never sure is equally sure
        self.never = policy.vocabulary.mask_id if self.habits.mask_counts else None
        self.knows_what_is_left = sampling.confidence_threshold is None and not self.rule.alone
        self.order_is_noisy = self.rule.random or sampling.remask_temperature > 0

    def logits(self, group: _Canvas, shown: Shown) -> Tensor:
        """[M, V], -inf for what may not be written there, but for ``never``."""
        # Until the first token is written all members are the same sequence: compute it once.
        same, group.untouched = group.untouched, False
        seen, copies = (shown.first(), len(shown.ids)) if same else (shown, 1)
        logits, sampling = self._guided(seen, group.mask_id), self.sampling
        if sampling.repetition_penalty != 1:
            owners, penalty = seen.rows.owners(), sampling.repetition_penalty
            logits = penalise_repetition(logits, seen.ids, owners, group.mask_id, penalty)
        if self.never is None:
            logits[:, group.mask_id] = -torch.inf
        if sampling.logits_eos_inf:
            logits[:, group.eos_id] = -torch.inf
        if group.no_end_before > 0:
            early = seen.rows.flatten(seen.rows.index) - group.start < group.no_end_before
            logits[:, group.eos_id].masked_fill_(early, -torch.inf)
        return logits.repeat(copies, 1) if same else logits

    def _guided(self, seen: Shown, mask_id: int) -> Tensor:
        """Classifier-free guidance without training for it (arXiv 2410.18514): the blind prediction sees masks for a prompt."""
        logits = self.policy.head(self.states.hidden(seen), image=False)
        if self.blind is None:
            return logits
        ids = seen.ids.clone()
        ids[:, : self.start] = mask_id
        without = self.policy.head(self.blind.hidden(replace(seen, ids=ids)), image=False)
        return without + (1 + self.sampling.cfg_scale) * (logits - without)

    def keep_surest(self, ranked: Tensor, positions: Tensor, shown: Shown, count: int) -> Tensor:
        """ranked [b, M] of the masked positions [b, M] -> bool [b, M]."""
        count = min(count, ranked.shape[1])
        if not self.whole_rank:
            return keep_surest(ranked, count)
        seen = self.states.ranked(shown)
        whole = ranked.new_full((len(ranked), seen.stop - seen.start), -torch.inf)
        places = positions - seen.start
        return keep_surest(whole.scatter_(1, places, ranked), count).gather(1, places)

    def keep(self, living: Tensor) -> None:
        for states in (self.states, self.blind):
            if states is not None:
                states.keep(living)


class _Canvas:
    """The sequences still being written, and where each came from.

    told  [B, canvas, 2] float32: each token's probability and the entropy when it was revealed, -1 where it was given
    """

    def __init__(
        self, policy: Policy, prefix: Sequence[int], canvas: Sequence[int], seeds: Sequence[int], suffix: Sequence[int]
    ) -> None:
        device = next(policy.module.parameters()).device
        self.start = len(prefix)
        self.mask_id, self.eos_id = policy.vocabulary.mask_id, policy.vocabulary.eos_id
        row = [*prefix, *(self.mask_id if token == FREE else token for token in canvas), *suffix]
        self.all_ids = torch.tensor(row, device=device).repeat(len(seeds), 1)
        self.all_steps = torch.full((len(seeds), len(canvas)), -1, dtype=torch.int32, device=device)
        self.told = torch.full((len(seeds), len(canvas), 2), -1.0, device=device)
        self.seeds = torch.tensor(list(seeds), dtype=torch.int64, device=device)
        self.ids, self.step_map = self.all_ids.clone(), self.all_steps.clone()
        self.alive = torch.arange(len(seeds), device=device)
        self.untouched, self.no_end_before = True, _last_given(canvas, self.eos_id)

    def in_play(self, block: slice, left: int | None) -> tuple[Shown, Tensor]:
        """The members that still have masks in the block, and their seeds. left: how many each has, None: ask."""
        members, ids, seeds = torch.arange(len(self.ids), device=self.ids.device), self.ids, self.seeds
        counts = [left] * len(ids) if left is not None else (ids[:, block] == self.mask_id).sum(1).tolist()
        if not all(counts):
            members = torch.tensor([i for i, count in enumerate(counts) if count], device=ids.device, dtype=torch.int64)
            ids, seeds, counts = ids[members], seeds[members], [count for count in counts if count]
        rows = Rows.of(ids[:, block] == self.mask_id, counts, first=block.start)
        return Shown(ids, rows, block, members), seeds

    def write(self, members: Tensor, positions: Tensor, tokens: Tensor, keep: Tensor, step: int) -> None:
        """positions, tokens and keep [b, M]; where it does not keep, what stands there stays."""
        for target, new, first in ((self.ids, tokens, 0), (self.step_map, torch.full_like(tokens, step), self.start)):
            rows, places = target[members], positions - first
            kept = torch.where(keep, new.to(target.dtype), rows.gather(1, places))
            target.index_copy_(0, members, rows.scatter_(1, places, kept))

    def note(self, shown: Shown, found: Candidates, keep: Tensor, count: int | None) -> None:
        """How sure the policy was of the tokens that it keeps. count: how many these are, None: ask."""
        rows, places = shown.rows, kept_places(keep, count)
        which = places
        if rows.flat is not None:
            which = rows.pad(torch.arange(rows.count, device=keep.device)).flatten()[places]
        firsts = self.alive[shown.members] * self.told.shape[1] - self.start
        where = (rows.index + firsts[:, None]).flatten()[places]
        self.told.view(-1, 2).index_copy_(0, where, found.told(which))

    def drop_finished(self, filled: int) -> Tensor:
        """Store what is written, and go on with the sequences that have not ended: which of the living they are."""
        self.all_ids[self.alive], self.all_steps[self.alive] = self.ids, self.step_map
        ended = (self.ids[:, self.start : self.start + filled] == self.eos_id).any(1)
        living = (~ended).nonzero().squeeze(1)
        if len(living) < len(ended):
            self.alive, self.seeds = self.alive[living], self.seeds[living]
            self.ids, self.step_map = self.ids[living], self.step_map[living]
        return living

    def samples(self, length: int) -> list[Sample]:
        """The first ``length`` tokens of the canvas, each up to its end of text."""
        ids = self.all_ids[:, self.start : self.start + length].cpu().numpy()
        steps, told = self.all_steps[:, :length].cpu().numpy(), self.told[:, :length].cpu().numpy()
        return [_until_end(*row, self.eos_id) for row in zip(ids, steps, told, strict=True)]


def _ends(policy: Policy) -> tuple[int, ...]:
    """The end of text, and the end of a turn where the tokenizer has such a token."""
    name = policy.habits.turn_end
    turn = policy.tokenizer.encode(name) if name is not None else []
    return (policy.vocabulary.eos_id, *(turn if len(turn) == 1 else []))


def _last_given(canvas: Sequence[int], eos_id: int) -> int:
    """The last given position, or the first given end-of-text: text before it goes on until there. -1: none."""
    places = [place for place, token in enumerate(canvas) if token != FREE]
    ends = [place for place in places if canvas[place] == eos_id]
    return (ends or places[-1:] or [-1])[0]


def _until_end(token_ids: np.ndarray, step_map: np.ndarray, told: np.ndarray, eos_id: int) -> Sample:
    ends = np.flatnonzero(token_ids == eos_id)
    length = int(ends[0]) + 1 if len(ends) else len(token_ids)
    confidence, entropy = (told[:length, column].copy() for column in (0, 1))
    return Sample(token_ids[:length].copy(), step_map[:length].copy(), len(ends) > 0, confidence, entropy)

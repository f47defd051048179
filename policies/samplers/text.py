"""Semi-autoregressive masked-diffusion sampling of text (LLaDA, arXiv 2502.09992, appendix B).

The canvas of mask tokens is filled block by block, left to right. In each denoising step every masked position of the
block gets a candidate, and the surest ones are kept. The head, the softmax, the noise and the last layer are computed
only for the positions in play; a sequence that has ended leaves the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from policies.base import Policy
from policies.noise import ORDER, uniforms
from policies.packed import packed
from policies.samplers.tokens import draw, keep_surest
from rl.types import Sample, TextSampling


@torch.inference_mode()
def sample_text(
    policy: Policy, prefix: Sequence[int], sampling: TextSampling, seeds: Sequence[int], suffix: Sequence[int] = ()
) -> list[Sample]:
    """One prompt, one response for each seed, as one batch. The response ends with its first end-of-text token."""
    group = _Canvas(policy, prefix, sampling.max_new_tokens, seeds, suffix)
    blocks = sampling.max_new_tokens // sampling.block_length
    steps = sampling.steps // blocks
    with packed(policy.module):
        for block in range(blocks):
            first = block * sampling.block_length
            for step, count in enumerate(reveal_counts(sampling.block_length, steps)):
                if count:
                    _denoise(group, sampling, first, block * steps + step, count)
            if not group.drop_finished(first + sampling.block_length):
                break
    return group.samples()


def reveal_counts(length: int, steps: int) -> list[int]:
    """How many tokens each step reveals: as even as can be, the remainder in the first steps, as LLaDA does."""
    base, remainder = divmod(length, steps)
    return [base + (step < remainder) for step in range(steps)]


def _denoise(group: _Canvas, sampling: TextSampling, first: int, step: int, count: int) -> None:
    ids, start = group.ids, group.start
    rows = torch.zeros_like(ids, dtype=torch.bool)
    window = slice(start + first, start + first + sampling.block_length)
    rows[:, window] = ids[:, window] == group.mask_id
    # At the very first step all members are the same sequence: compute it once. Later they differ.
    same = step == 0
    hidden = group.policy.hidden(ids[:1], rows=rows[:1]) if same else group.policy.hidden(ids, rows=rows)
    logits = group.policy.head(hidden, image=False)
    logits[:, group.mask_id] = -torch.inf
    if same:
        logits = logits.repeat(len(ids), 1)
    positions = rows.nonzero()[:, 1].view(len(ids), -1)
    noise = uniforms(group.seeds, step, positions - start).flatten()
    tokens, confidence = draw(logits, noise, sampling.temperature)
    if sampling.remasking == "random":
        confidence = uniforms(group.seeds, step, positions - start, ORDER).flatten()
    keep = keep_surest(confidence.view(len(ids), -1), count)
    group.write(positions, tokens.view(len(ids), -1), keep, step)


class _Canvas:
    """The sequences still being written, and where each came from."""

    def __init__(
        self, policy: Policy, prefix: Sequence[int], length: int, seeds: Sequence[int], suffix: Sequence[int]
    ) -> None:
        device = next(policy.module.parameters()).device
        self.policy, self.start, self.length = policy, len(prefix), length
        self.mask_id, self.eos_id = policy.vocabulary.mask_id, policy.vocabulary.eos_id
        row = [*prefix, *[self.mask_id] * length, *suffix]
        self.all_ids = torch.tensor(row, device=device).repeat(len(seeds), 1)
        self.step_map = torch.full((len(seeds), length), -1, dtype=torch.int32, device=device)
        self.seeds = torch.tensor(list(seeds), dtype=torch.int64, device=device)
        self.all_seeds, self.ids = self.seeds, self.all_ids.clone()
        self.alive = torch.arange(len(seeds), device=device)

    def write(self, positions: Tensor, tokens: Tensor, keep: Tensor, step: int) -> None:
        self.ids.scatter_(1, positions, torch.where(keep, tokens, self.ids.gather(1, positions)))
        columns = positions - self.start
        steps = self.step_map[self.alive]
        steps.scatter_(1, columns, torch.where(keep, step, steps.gather(1, columns)).to(torch.int32))
        self.step_map[self.alive] = steps

    def drop_finished(self, filled: int) -> bool:
        """Store what is written; go on with the sequences that have not ended. False if there are none."""
        self.all_ids[self.alive] = self.ids
        ended = (self.ids[:, self.start : self.start + filled] == self.eos_id).any(1)
        self.alive, self.ids, self.seeds = self.alive[~ended], self.ids[~ended], self.seeds[~ended]
        return len(self.alive) > 0

    def samples(self) -> list[Sample]:
        ids = self.all_ids[:, self.start : self.start + self.length].cpu().numpy()
        steps = self.step_map.cpu().numpy()
        return [_until_end(row, row_steps, self.eos_id) for row, row_steps in zip(ids, steps, strict=True)]


def _until_end(token_ids: np.ndarray, step_map: np.ndarray, eos_id: int) -> Sample:
    ends = np.flatnonzero(token_ids == eos_id)
    length = int(ends[0]) + 1 if len(ends) else len(token_ids)
    return Sample(token_ids[:length].copy(), step_map[:length].copy(), complete=len(ends) > 0)

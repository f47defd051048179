"""MaskGIT sampling of image codes with classifier-free guidance (arXiv 2202.04200; as Show-o and MMaDA draw).

All codes start masked. Each step draws a candidate for every masked code and keeps the surest, so that the share of
masked codes follows the schedule. Only masked rows reach the last layer and the codebook part of the head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from policies.base import EncodedPrompt, Policy
from policies.noise import ORDER, gumbel, uniforms
from policies.packed import packed
from policies.samplers.tokens import draw, keep_surest
from rl.types import ImageSampling, Sample


@torch.inference_mode()
def sample_image(policy: Policy, prompt: EncodedPrompt, sampling: ImageSampling, seeds: Sequence[int]) -> list[Sample]:
    """One prompt, one image for each seed, as one batch. token_ids are codebook indices."""
    assert prompt.response_length is not None
    length, groups = prompt.response_length, len(seeds)
    device = next(policy.module.parameters()).device
    offset, mask_id = policy.vocabulary.image_offset, policy.vocabulary.mask_id
    codes = torch.full((groups, length), mask_id, device=device)
    step_map = torch.zeros((groups, length), dtype=torch.int32, device=device)
    seed_tensor = torch.tensor(list(seeds), dtype=torch.int64, device=device)
    masked_before = length
    with packed(policy.module):
        for step, masked_after in enumerate(masked_counts(length, sampling)):
            reveal = masked_before - masked_after
            if reveal == 0:
                continue
            masked = codes == mask_id
            positions = masked.nonzero()[:, 1].view(groups, -1)
            logits = _guided_logits(policy, prompt, codes, masked, sampling.guidance, same=masked_before == length)
            tokens, probability = draw(logits, uniforms(seed_tensor, step, positions).flatten(), sampling.temperature)
            confidence = probability.log().view(groups, -1)
            scale = sampling.remask_temperature * (1 - (step + 1) / sampling.steps)
            if scale > 0:
                confidence = confidence + scale * gumbel(uniforms(seed_tensor, step, positions, ORDER)).float()
            keep = keep_surest(confidence, reveal)
            written = torch.where(keep, tokens.view(groups, -1) + offset, mask_id)
            codes.scatter_(1, positions, written)
            step_map.scatter_(1, positions, torch.full_like(written, step, dtype=torch.int32))
            masked_before = masked_after
    final, steps = (codes - offset).cpu().numpy(), step_map.cpu().numpy()
    return [Sample(row.copy(), row_steps.copy()) for row, row_steps in zip(final, steps, strict=True)]


def masked_counts(length: int, sampling: ImageSampling) -> list[int]:
    """Codes still masked after each step: it falls with every step where it can, and ends at 0."""
    counts, left = [], length
    for step in range(1, sampling.steps + 1):
        time = step / sampling.steps
        share = math.cos(math.pi / 2 * time) if sampling.schedule == "cosine" else 1 - time
        left = 0 if step == sampling.steps else max(min(math.floor(length * share), left - 1), 0)
        counts.append(left)
    return counts


def _guided_logits(
    policy: Policy, prompt: EncodedPrompt, codes: Tensor, masked: Tensor, guidance: float, same: bool
) -> Tensor:
    """Codebook logits [M, codebook] of the masked rows. ``same``: all members are still equal, so one is enough."""
    if same:
        codes, masked, copies = codes[:1], masked[:1], len(codes)
    logits = _codebook_logits(policy, prompt.prefix, prompt.suffix, codes, masked)
    if guidance > 0:
        unconditional = _codebook_logits(policy, prompt.unconditional, prompt.suffix, codes, masked)
        logits = (1 + guidance) * logits - guidance * unconditional
    return logits.repeat(copies, 1) if same else logits


def _codebook_logits(
    policy: Policy, prefix: Sequence[int], suffix: Sequence[int], codes: Tensor, masked: Tensor
) -> Tensor:
    given = torch.tensor([*prefix, *suffix], device=codes.device).expand(len(codes), -1)
    ids = torch.cat([given[:, : len(prefix)], codes, given[:, len(prefix) :]], dim=1)
    rows = torch.zeros_like(ids, dtype=torch.bool)
    rows[:, len(prefix) : len(prefix) + codes.shape[1]] = masked
    return policy.head(policy.hidden(ids, rows=rows), image=True).float()

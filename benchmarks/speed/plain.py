"""The published sampling algorithms as their papers word them, for comparison: whole logits for whole sequences.

Written from LLaDA (arXiv 2502.09992, algorithms 4 and 5; github.com/ML-GSAI/LLaDA, generate.py) and from MaskGIT (arXiv
2202.04200, section 3.2) as MMaDA runs it (arXiv 2505.15809; github.com/Gen-Verse/MMaDA, t2i_generate). They do the same
arithmetic in the same order and draw the same random numbers, so that they cost what the originals cost and, under one
generator, write the same tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from policies.base import Policy

# token ids [B, L] and attention mask [B, L] (or None) -> logits [B, L, V]
Model = Callable[[Tensor, Tensor | None], Tensor]


@torch.no_grad()
def llada_generate(
    model: Model, prompt: Tensor, *, steps: int, length: int, block: int, temperature: float, mask_id: int
) -> Tensor:
    """prompt [B, P] -> [B, P + length]. Noise comes from torch's global generator, in float64, as LLaDA asks."""
    start = prompt.shape[1]
    ids = torch.cat([prompt, torch.full((len(prompt), length), mask_id)], dim=1)
    per_block = steps // (length // block)
    for first in range(start, start + length, block):
        base, more = divmod(block, per_block)
        for step in range(per_block):
            masked = ids == mask_id
            logits = model(ids, None)
            candidate = _gumbel_noise(logits, temperature).argmax(-1)
            confidence = logits.softmax(-1).gather(-1, candidate[..., None]).squeeze(-1)
            confidence[:, first + block :] = -torch.inf
            candidate = torch.where(masked, candidate, ids)
            confidence = torch.where(masked, confidence, -torch.inf)
            chosen = torch.zeros_like(masked)
            for row in range(len(ids)):
                chosen[row, confidence[row].topk(base + (step < more)).indices] = True
            ids[chosen] = candidate[chosen]
    return ids


@torch.no_grad()
def block_generate(policy: Policy, prompt: Tensor, *, steps: int, length: int, block: int, mask_id: int) -> Tensor:
    """SDAR's block diffusion (arXiv 2510.06303, section 3; github.com/JetAstra/SDAR, generate.py), greedy, and without
    its cache: each step computes all tokens up to the end of the block, and logits of the block. The last block is filled
    to its end. prompt [B, P] -> [B, P + length]."""
    start, stop = prompt.shape[1], prompt.shape[1] + length
    ids = torch.cat([prompt, torch.full((len(prompt), length + -stop % block), mask_id)], dim=1)
    base, more = divmod(block, steps * block // length)
    for first in range(start // block * block, stop, block):
        step = 0
        while bool((masked := ids[:, first : first + block] == mask_id).any()):
            logits = policy.head(policy.hidden(ids[:, : first + block])[:, first:], image=False)
            confidence, candidate = logits.softmax(-1).max(-1)
            confidence = torch.where(masked, confidence, -torch.inf)
            count = min(base + (step < more), int(masked.sum(1).min()))
            chosen = torch.zeros_like(masked).scatter_(1, confidence.topk(count).indices, True)
            ids[:, first : first + block][chosen] = candidate[chosen]
            step += 1
    return ids[:, :stop]


def _gumbel_noise(logits: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return logits
    logits = logits.to(torch.float64)
    return logits.exp() / (-torch.rand_like(logits).log()) ** temperature


@torch.no_grad()
def mmada_draw(
    model: Model,
    ids: Tensor,
    unconditional: Tensor,
    attention: Tensor,
    unconditional_attention: Tensor,
    *,
    codes: int,
    image_offset: int,
    codebook: int,
    mask_id: int,
    steps: int,
    guidance: float,
    temperature: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """ids, unconditional [B, P + codes + 1], padded on the left -> codes [B, codes]. The text is P long in both.

    MMaDA multiplies the remasking temperature by (1 - time) at every step, so that it falls as a product.
    """
    ids, canvas = ids.clone(), slice(-(codes + 1), -1)
    prefix = ids.shape[1] - codes - 1
    known = torch.where(ids[:, canvas] == mask_id, mask_id, ids[:, canvas] - image_offset)
    drawn = known
    for step in range(steps):
        other = torch.cat([unconditional[:, :prefix], ids[:, prefix:]], dim=1)
        both = model(torch.cat([ids, other]), torch.cat([attention, unconditional_attention]))
        with_text, without = both.chunk(2)
        logits = (1 + guidance) * with_text - guidance * without
        logits = logits[:, canvas, image_offset : image_offset + codebook]
        probabilities = logits.softmax(-1)
        drawn = torch.multinomial(probabilities.flatten(0, 1), 1, generator=generator)[:, 0].view(known.shape)
        unknown = known == mask_id
        drawn = torch.where(unknown, drawn, known)
        chosen = probabilities.gather(-1, drawn[..., None]).squeeze(-1)
        chosen = torch.where(unknown, chosen, torch.finfo(chosen.dtype).max)
        time = (step + 1) / steps
        left = torch.floor(codes * torch.cos(torch.tensor(time) * math.pi * 0.5))
        left = torch.minimum(unknown.sum(1, keepdim=True) - 1, left).clamp(min=1).long()
        temperature *= 1 - time
        noise = torch.zeros_like(chosen).uniform_(0, 1, generator=generator)
        confidence = _log(chosen) + temperature * -_log(-_log(noise))
        masked = confidence < confidence.sort(-1).values.gather(1, left)
        ids[:, canvas] = torch.where(masked, mask_id, drawn + image_offset)
        known = torch.where(masked, mask_id, drawn)
    return drawn


def _log(x: Tensor) -> Tensor:
    return x.clamp(min=1e-20).log()

"""MaskGIT sampling of image codes with classifier-free guidance (arXiv 2202.04200; as Show-o and MMaDA draw).

All codes start masked, or those that are not given. Each step draws a candidate for every masked code and keeps the
surest, so that the share of masked codes follows the schedule. Only masked rows reach the last layer and the codebook
part of the head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from policies.base import EncodedPrompt, Policy
from policies.network.prepacked_weights import packed
from policies.network.rows import Rows
from policies.noise import ORDER, TOKEN, gumbel, uniforms
from policies.samplers.schedules import masked_counts, order_noise
from policies.samplers.tokens import FREE, candidates, copies, keep_surest, kept_places, seedless
from rl.types import ImageSampling, Sample


@torch.inference_mode()
def sample_image(
    policy: Policy,
    prompt: EncodedPrompt,
    sampling: ImageSampling,
    seeds: Sequence[int],
    given: Sequence[int] | None = None,
    prefixes: Sequence[Sequence[int]] | None = None,
) -> list[Sample]:
    """One prompt, one image for each seed, as one batch. token_ids are codebook indices.

    given     codes that stand already, and FREE where the sampler draws; ``step_map`` is -1 where a code was given
    prefixes  one a member, in place of the prompt's: each member wrote a plan of its own
    """
    if seedless(sampling) and len(seeds) > 1 and prefixes is None:
        return copies(sample_image(policy, prompt, sampling, seeds[:1], given)[0], len(seeds))
    found = (part.cpu().numpy() for part in _sample(policy, prompt, sampling, seeds, given, prefixes))
    return [
        Sample(codes.copy(), steps.copy(), True, told[:, 0].copy(), told[:, 1].copy())
        for codes, steps, told in zip(*found, strict=True)
    ]


def _sample(
    policy: Policy,
    prompt: EncodedPrompt,
    sampling: ImageSampling,
    seeds: Sequence[int],
    given: Sequence[int] | None,
    prefixes: Sequence[Sequence[int]] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Codes and step map [B, codes], and each code's probability and entropy when it was revealed [B, codes, 2], on the
    device, which is asked for nothing on the way."""
    assert prompt.response_length is not None
    groups, device = len(seeds), next(policy.module.parameters()).device
    offset, mask_id = policy.vocabulary.image_offset, policy.vocabulary.mask_id
    start = [FREE] * prompt.response_length if given is None else given
    row = [mask_id if code == FREE else code + offset for code in start]
    codes = torch.tensor(row, device=device).repeat(groups, 1)
    step_map = torch.full(codes.shape, -1, dtype=torch.int32, device=device)
    told = torch.full((*codes.shape, 2), -1.0, device=device)
    firsts = codes.shape[1] * torch.arange(groups, device=device)[:, None]
    seed_tensor = torch.tensor(list(seeds), dtype=torch.int64, device=device)
    predict = Predictor(policy, prompt, prefixes, sampling.guidance, device)
    masked_before = sum(code == FREE for code in start)
    plan = zip(masked_counts(masked_before, sampling), order_noise(sampling), strict=True)
    with packed(policy.module):
        for step, (masked_after, scale) in enumerate(plan):
            reveal = masked_before - masked_after
            if reveal == 0:
                continue
            rows = Rows.of(codes == mask_id, [masked_before] * groups)
            positions = rows.index
            logits = predict(codes, rows)
            noise, order = (uniforms(seed_tensor, step, positions, stream) for stream in (TOKEN, ORDER))
            if len(logits) == noise.numel():
                noise, order = noise.flatten(), order.flatten()
            found = candidates(logits, noise, order, sampling)
            confidence = found.certainty.log().view(groups, -1)
            if scale > 0:
                confidence = confidence + scale * gumbel(order).float().view(groups, -1)
            keep = keep_surest(confidence, reveal)
            written = torch.where(keep, found.tokens.view(groups, -1) + offset, mask_id)
            places = kept_places(keep, groups * reveal)
            told.view(-1, 2).index_copy_(0, (positions + firsts).flatten()[places], found.told(places))
            codes.scatter_(1, positions, written)
            step_map.scatter_(1, positions, torch.full_like(written, step, dtype=torch.int32))
            masked_before = masked_after
    return codes - offset, step_map, told


class Predictor:
    """Codebook logits [M, codebook] of the masked rows, guided: (1 + w) conditional - w unconditional. Those of one member
    alone where all are the same."""

    def __init__(
        self,
        policy: Policy,
        prompt: EncodedPrompt,
        prefixes: Sequence[Sequence[int]] | None,
        guidance: float,
        device: torch.device,
    ) -> None:
        self.policy, self.guidance = policy, guidance
        self.suffix = torch.tensor(prompt.suffix, dtype=torch.int64, device=device)
        self.prefix, self.attention = _left_padded(prefixes or [prompt.prefix], device)
        self.unconditional, _ = _left_padded([prompt.unconditional], device)
        self.untouched = True

    def __call__(self, codes: Tensor, rows: Rows) -> Tensor:
        # Until the first code is written all canvases are the same: with one prefix, one of them is enough.
        members, one = len(codes), self.untouched
        self.untouched = False
        first = 1 if one and len(self.prefix) == 1 else members
        logits = self._logits(self.prefix, self.attention, codes[:first], rows.take(first))
        if self.guidance > 0:
            blind = 1 if one else members
            without = self._logits(self.unconditional, None, codes[:blind], rows.take(blind))
            logits = (1 + self.guidance) * logits - self.guidance * without.repeat(first // blind, 1)
        return logits

    def _logits(self, prefix: Tensor, attention: Tensor | None, codes: Tensor, rows: Rows) -> Tensor:
        before, members = prefix.shape[1], len(codes)
        ids = torch.cat([prefix.expand(members, -1), codes, self.suffix.expand(members, -1)], dim=1)
        attend = None
        if attention is not None:
            attend = torch.ones_like(ids, dtype=torch.bool)
            attend[:, :before] = attention
        return self.policy.head(self.policy.hidden(ids, attend, rows=rows.since(-before)), image=True).float()


def _left_padded(prefixes: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """ids [B, P], and what is attended to [B, P] bool, or None where nothing is padded. Rotary positions are relative, so
    padding on the left changes no distance."""
    width = max(map(len, prefixes))
    ids = [[0] * (width - len(prefix)) + list(prefix) for prefix in prefixes]
    if all(len(prefix) == width for prefix in prefixes):
        return torch.tensor(ids, device=device), None
    real = [[column >= width - len(prefix) for column in range(width)] for prefix in prefixes]
    return torch.tensor(ids, device=device), torch.tensor(real, device=device)

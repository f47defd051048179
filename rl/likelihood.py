"""Masked log-likelihood: how probable each masked token is, given the prompt and the rest of the response.

The head and the last layer run on masked rows only, and image rows are normalised over the codebook alone, as the
sampler of images does; the [B, L, V] logits of the plain definition are never formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from policies.base import Policy


@dataclass(frozen=True, slots=True)
class LogProbs:
    """values   [B, L] log p(token | masked input) where masked, 0 elsewhere
    entropy  mean entropy of the same M distributions, in nats, detached; None where it was not asked for
    """

    values: Tensor
    entropy: Tensor | None = None


def masked_log_probs(
    policy: Policy,
    token_ids: Tensor,
    attention_mask: Tensor | None,
    mask: Tensor,
    *,
    with_entropy: bool = False,
) -> LogProbs:
    """Log-probs of ``token_ids`` at ``mask``, with exactly those positions hidden from the policy.

    token_ids [B, L] int64; attention_mask [B, L] bool, False at padding, or None; mask [B, L] bool. Rows whose token is
    an image code are normalised over the codebook, all others over the whole vocabulary. Values are float32 at least.
    """
    positions = mask.flatten().nonzero().squeeze(1)
    if not len(positions):
        return LogProbs(torch.zeros(mask.shape, device=mask.device), torch.zeros(()) if with_entropy else None)
    offset = policy.vocabulary.image_offset
    targets = token_ids.flatten()[positions]
    hidden = policy.hidden(token_ids.masked_fill(mask, policy.vocabulary.mask_id), attention_mask, rows=mask)
    parts = []
    for image in (False, True):
        rows = ((targets >= offset) == image).nonzero().squeeze(1)
        if len(rows):
            chosen = targets[rows] - offset if image else targets[rows]
            logits = policy.head(hidden if len(rows) == len(targets) else hidden[rows], image=image)
            parts.append((positions[rows], *_score(logits, chosen, with_entropy)))
    values = parts[0][1].new_zeros(mask.numel())
    for where, logp, _ in parts:
        values = values.index_copy(0, where, logp)
    entropy = sum(part[2] for part in parts) / len(positions) if with_entropy else None
    return LogProbs(values.view(mask.shape), entropy)


def _score(logits: Tensor, targets: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
    """logits [M, V], targets [M] -> log-probs [M], summed entropy."""
    logp = torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
    entropy = torch.special.entr(logp.detach().exp()).sum() if with_entropy else None
    return logp.gather(1, targets[:, None]).squeeze(1), entropy

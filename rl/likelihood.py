"""Masked log-likelihood: how probable each masked token is, given the prompt and the rest of the response.

The head and the last layer run on masked rows only, and image rows are normalised over the codebook alone, as the
sampler of images does; the [B, L, V] logits of the plain definition are never formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from policies.base import Policy
from rl.config import UniGRPOConfig
from rl.estimators import estimator
from rl.microbatches import MicroBatch


@dataclass(frozen=True, slots=True)
class LogProbs:
    """values   [B, L] log p(token | masked input) where masked, 0 elsewhere
    entropy  mean entropy of the same M distributions, in nats, detached; NaN where it was not asked for
    """

    values: Tensor
    entropy: Tensor


def token_values(
    policy: Policy, data: MicroBatch, n: int, algorithm: UniGRPOConfig, *, with_entropy: bool = False
) -> LogProbs:
    """Each response token's value under inner update n's passes, as the configured estimator puts them together.

    values [b, L] are log-probs where there is one pass; times ``data.scales[n]`` their sum over a response estimates its
    log-likelihood. The entropy is the mean over all terms that the passes score.
    """
    passes = zip(data.hidden[n], data.term_weights[n] > 0, strict=True)
    found = [_one_pass(policy, data, hidden, scored, with_entropy) for hidden, scored in passes]
    logp = torch.stack([part.values for part, _ in found])
    combine = estimator(algorithm.estimator).combine
    values = combine(logp, data.term_weights[n], data.advantages, algorithm)
    terms = sum(count for _, count in found)
    if len(found) == 1:
        return LogProbs(values, found[0][0].entropy)
    return LogProbs(values, torch.stack([part.entropy * count for part, count in found if count]).sum() / max(1, terms))


def _one_pass(
    policy: Policy, data: MicroBatch, hidden: Tensor, scored: Tensor, with_entropy: bool
) -> tuple[LogProbs, int]:
    """One pass over the rollouts that take part in it, hidden and scored [b, L]; and how many terms it scores."""
    rows = scored.any(1).nonzero().squeeze(1)
    token_ids = data.token_ids.masked_fill(hidden & ~scored, policy.vocabulary.mask_id)
    if len(rows) == len(scored):
        parts = token_ids, data.attention, scored, data.draws
    else:
        attention = None if data.attention is None else data.attention[rows]
        parts = token_ids[rows], attention, scored[rows], data.draws[rows]
    found = masked_log_probs(policy, *parts[:3], draws=parts[3], with_entropy=with_entropy)
    if len(rows) < len(scored):
        values = found.values.new_zeros(scored.shape).index_copy(0, rows, found.values)
        found = LogProbs(values, found.entropy)
    return found, int(scored.sum())


def masked_log_probs(
    policy: Policy,
    token_ids: Tensor,
    attention_mask: Tensor | None,
    mask: Tensor,
    *,
    draws: Tensor | None = None,
    with_entropy: bool = False,
) -> LogProbs:
    """Log-probs of ``token_ids`` at ``mask``, with exactly those positions hidden from the policy.

    token_ids       [B, L] int64
    attention_mask  [B, L] bool, False at padding, or None
    mask            [B, L] bool
    draws           [B] bool, the sequences whose image codes the sampler of images wrote; None: all

    Those codes are normalised over the codebook. All other tokens are normalised over the whole vocabulary, as the
    sampler of text does: also an image code that strayed into a text. Values are float32 at least.
    """
    vocabulary = policy.vocabulary
    positions = mask.flatten().nonzero().squeeze(1)
    if not len(positions):
        return LogProbs(torch.zeros(mask.shape, device=mask.device), torch.tensor(torch.nan, device=mask.device))
    targets = token_ids.flatten()[positions]
    codes = targets - vocabulary.image_offset
    is_image = (codes >= 0) & (codes < vocabulary.codebook_size)
    if draws is not None:
        is_image &= draws.repeat_interleave(mask.sum(1))
    hidden = policy.hidden(token_ids.masked_fill(mask, vocabulary.mask_id), attention_mask, rows=mask)
    parts = []
    for image, wanted in ((False, targets), (True, codes)):
        rows = (is_image == image).nonzero().squeeze(1)
        if len(rows):
            logits = policy.head(hidden if len(rows) == len(targets) else hidden[rows], image=image)
            parts.append((positions[rows], *_score(logits, wanted[rows], with_entropy)))
    values = parts[0][1].new_zeros(mask.numel())
    for where, logp, _ in parts:
        values = values.index_copy(0, where, logp)
    entropy = torch.stack([part[2] for part in parts]).sum() / len(positions)
    return LogProbs(values.view(mask.shape), entropy)


def _score(logits: Tensor, targets: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor]:
    """logits [M, V], targets [M] -> log-probs [M], and the sum of the M entropies."""
    logp = torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
    entropy = logp.new_tensor(torch.nan)
    if with_entropy:
        detached = logp.detach()
        entropy = -(detached.exp() * detached).sum()
    return logp.gather(1, targets[:, None]).squeeze(1), entropy

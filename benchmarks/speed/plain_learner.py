"""The learner's loss as the field's trainers compute it: all logits of all positions, then a log-softmax.

The formula is that of dLLM-RL's policy loss (github.com/Gen-Verse/dLLM-RL, train/rl_llada.py), with a KL term to a
reference where there is one; the code is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.base import Policy
from policies.network import transformer


@contextmanager
def plain_layers() -> Iterator[None]:
    """In this block layers keep for the gradient what torch keeps by itself (``policies.network.recomputed``)."""
    ours = transformer.rms_norm, transformer.gated
    transformer.rms_norm = lambda x, weight, eps: F.rms_norm(x, weight.shape, weight, eps)
    transformer.gated = lambda gate, up: F.silu(gate) * up
    try:
        yield
    finally:
        transformer.rms_norm, transformer.gated = ours


def plain_log_probs(policy: Policy, token_ids: Tensor, attention: Tensor | None, mask: Tensor) -> Tensor:
    """[B, L]: log-softmax over the vocabulary at every position, and each token's own entry."""
    logits = policy.logits(token_ids.masked_fill(mask, policy.vocabulary.mask_id), attention)
    return logits.float().log_softmax(-1).gather(-1, token_ids[..., None]).squeeze(-1)


def plain_loss(
    logp: Tensor, old: Tensor, ref: Tensor | None, advantages: Tensor, mask: Tensor, clip: float, beta: float
) -> Tensor:
    """-mean over B of 1/M * sum over masked tokens of min(ratio * A, clipped ratio * A), and beta times k3."""
    ratio, advantage = (logp - old).exp(), advantages[:, None]
    losses = -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    if ref is not None:
        losses = losses + beta * ((ref - logp).exp() - (ref - logp) - 1)
    return ((losses * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def plain_step(
    policy: Policy,
    reference: Policy | None,
    optimizer: torch.optim.Optimizer,
    token_ids: Tensor,
    attention: Tensor | None,
    masks: Tensor,
    advantages: Tensor,
    *,
    clip: float,
    beta: float,
    max_grad_norm: float,
) -> None:
    """A whole step, a rollout at a time: old and reference log-probs under the masks [N, B, L], then N updates."""
    rows = [slice(i, i + 1) for i in range(len(token_ids))]

    def score(scorer: Policy, n: int, row: slice) -> Tensor:
        return plain_log_probs(scorer, token_ids[row], None if attention is None else attention[row], masks[n][row])

    with torch.no_grad():
        old = [[score(policy, n, row) for row in rows] for n in range(len(masks))]
        ref = [[None if reference is None else score(reference, n, row) for row in rows] for n in range(len(masks))]
    for n in range(len(masks)):
        for i, row in enumerate(rows):
            terms = score(policy, n, row), old[n][i], ref[n][i], advantages[row], masks[n][row]
            (plain_loss(*terms, clip, beta) / len(rows)).backward()
        torch.nn.utils.clip_grad_norm_(policy.module.parameters(), max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

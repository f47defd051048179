"""Draw one token a row from logits, with one uniform number a row."""

from __future__ import annotations

import torch
from torch import Tensor


def draw(logits: Tensor, uniform: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """logits [M, V], uniform [M] float64 -> token [M] int64, and its probability at temperature 1 [M] float32.

    Temperature 0 takes the likeliest token. Otherwise the inverse of the cumulative distribution of
    softmax(logits / temperature) is taken at ``uniform``: exact, and V times less noise than the Gumbel trick.
    """
    probabilities = logits.float().softmax(-1)
    if temperature == 0:
        token = logits.argmax(-1)
    else:
        tempered = probabilities if temperature == 1 else (logits.float() / temperature).softmax(-1)
        cumulative = tempered.cumsum(-1, dtype=torch.float64)
        target = uniform[:, None] * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, target, right=True).squeeze(-1).clamp_(max=logits.shape[-1] - 1)
    return token, probabilities.gather(-1, token[:, None]).squeeze(-1)


def keep_surest(confidence: Tensor, count: int) -> Tensor:
    """[B, M] -> bool [B, M]: True at each row's ``count`` highest."""
    chosen = torch.zeros_like(confidence, dtype=torch.bool)
    return chosen.scatter_(1, confidence.topk(count, dim=1).indices, True)

"""The distinct tokens of a batch, for what depends on a token alone: the first layer's norm and projections.

A canvas is mostly mask tokens, and the members of a group share a prompt, so that a group of 8 with 1,024 positions has
some 150 distinct tokens. Rotation, and all after it, depends on where a token stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

WORTH = 0.75  # a larger share of distinct tokens costs more to look up than it saves


@dataclass(frozen=True, slots=True)
class Distinct:
    """tokens [U] int64; where [B, L] int64: the index among them of the token at each position."""

    tokens: Tensor
    where: Tensor

    @classmethod
    def of(cls, token_ids: Tensor) -> Distinct | None:
        """None where too few repeat. For a CPU: a GPU's host would wait for the number of them."""
        tokens, where = torch.unique(token_ids, return_inverse=True)
        return cls(tokens, where) if len(tokens) <= WORTH * token_ids.numel() else None

    def spread(self, x: Tensor) -> Tensor:
        """[U, D] -> [B, L, D]"""
        return x.index_select(0, self.where.flatten()).unflatten(0, self.where.shape)

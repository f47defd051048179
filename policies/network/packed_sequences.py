"""Sequences of many lengths laid end to end, so that no layer works on padding.

Linear layers, norms and MLPs see one stream of T tokens; attention sees one sequence at a time, so none sees another.
The idea is that of varlen attention (FlashAttention-2, arXiv 2307.08691); on CPUs a loop over sequences measured faster
than a block-diagonal mask, which pays for all T * T pairs (docs/decisions/0020-packing.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, slots=True)
class Packing:
    """B sequences in one stream of T tokens.

    where      [T] place of each token in the flattened [B, L]
    positions  [T] its position in its own sequence
    queries    [B] how many of each sequence ask in attention: all its tokens, or the selected ones
    keys       [B] how many tokens each sequence has
    biases     [B] who may attend to whom within a sequence, bool [1, 1, queries, keys]; None: all to all
    """

    where: Tensor
    positions: Tensor
    queries: Sequence[int]
    keys: Sequence[int]
    biases: Sequence[Tensor | None]

    @classmethod
    def of(cls, attention_mask: Tensor, bias: Callable[[int], Tensor | None]) -> Packing:
        """attention_mask [B, L] bool, False at padding; bias: of a sequence, by its length."""
        where = attention_mask.flatten().nonzero().squeeze(1)
        lengths = attention_mask.sum(1).tolist()
        positions = torch.cat([torch.arange(length, device=where.device) for length in lengths])
        return cls(where, positions, lengths, lengths, [bias(length) for length in lengths])

    def pack(self, x: Tensor) -> Tensor:
        """[B, L] -> [1, T]"""
        return x.flatten()[self.where][None]

    def unpack(self, x: Tensor, shape: torch.Size) -> Tensor:
        """[1, T, D] -> [B, L, D], 0 at padding."""
        padded = x.new_zeros(shape.numel(), x.shape[-1]).index_copy(0, self.where, x[0])
        return padded.view(*shape, x.shape[-1])

    def select(self, index: Tensor) -> Packing:
        """Only the tokens at ``index`` [M] of the stream ask, in their order; all are still seen."""
        ends = torch.tensor(self.keys, device=index.device).cumsum(0)
        counts = torch.bincount(torch.searchsorted(ends, index, right=True), minlength=len(self.keys)).tolist()
        asking = self.positions[index].split(counts)
        biases = [None if bias is None else bias[:, :, at] for bias, at in zip(self.biases, asking, strict=True)]
        return replace(self, queries=counts, biases=biases)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, attend: Attend) -> Tensor:
        """q [1, heads, queries, H], k and v [1, heads, T, H]: each sequence's attention by itself."""
        parts = zip(q.split(self.queries, 2), k.split(self.keys, 2), v.split(self.keys, 2), self.biases, strict=True)
        return torch.cat([attend(*part) for part in parts if part[0].shape[2]], 2)


def pack_sequences(module: torch.nn.Module, on: bool = True) -> None:
    """From now on, padded batches run packed through this module, if it knows how: the same values but for rounding."""
    if hasattr(module, "packing"):
        module.packing = on  # pyright: ignore[reportArgumentType]

"""The positions in play, as a padded gather: sequences may have different numbers of them.

On a GPU every question to the device ("how many are selected?") stops the host until all work before it is done. Where
the host knows the answer, as a sampler that reveals a fixed number does, nothing is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from policies.network.packed_sequences import Packing


class Rows:
    """index [B, width] int64: each sequence's selected positions in order, then any others.

    flat [M] int64: which of the B * width places are selected, in row-major order; None: all of them.
    """

    def __init__(self, index: Tensor, flat: Tensor | None = None) -> None:
        self.index, self.flat = index, flat

    @classmethod
    def of(cls, selected: Tensor, counts: Sequence[int] | None = None, first: int = 0) -> Rows:
        """selected [B, L] bool. counts: how many of each sequence, or None to ask the device, once. first: the position
        of column 0."""
        known: list[int] = selected.sum(1).tolist() if counts is None else list(counts)
        width = max(known, default=0)
        # A stable sort puts the selected positions first, in order.
        index = torch.argsort((~selected).to(torch.int8), dim=1, stable=True)[:, :width] + first
        if min(known, default=0) == width:
            return cls(index)
        places = torch.arange(width, device=index.device).expand(len(known), -1)
        valid = places < _to_device(known, index.device)[:, None]
        return cls(index, valid.flatten().nonzero_static(size=sum(known)).squeeze(1))

    def take(self, count: int) -> Rows:
        """Those of the first sequences alone. None of them may be padded."""
        return self if len(self.index) == count else Rows(self.index[:count])

    def since(self, position: int) -> Rows:
        """The same positions, counted from this one: for a part of the sequence that begins there."""
        return Rows(self.index - position, self.flat) if position else self

    def shifted(self, positions: Tensor | None = None) -> Rows:
        """Where the states are that predict these: one before, but for a sequence's first. ``positions`` [L]: of packed
        sequences, whose firsts have position 0."""
        first = self.index == 0 if positions is None else positions[self.index] == 0
        return Rows(self.index - (~first).to(self.index.dtype), self.flat)

    def selected(self, shape: torch.Size) -> Tensor:
        """bool [B, L]: the inverse of ``of``."""
        valid = self.pad(torch.ones(self.count, dtype=torch.bool, device=self.index.device))
        return torch.zeros(shape, dtype=torch.bool, device=self.index.device).scatter_(1, self.index, valid)

    @property
    def count(self) -> int:
        return self.index.numel() if self.flat is None else len(self.flat)

    def owners(self) -> Tensor:
        """[M] which sequence each belongs to."""
        return self.flatten(torch.arange(len(self.index), device=self.index.device)[:, None].expand_as(self.index))

    def gather(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, width, D]"""
        return x.gather(1, self.index[..., None].expand(-1, -1, x.shape[-1]))

    def gather_rope(self, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Two tables [L, H] -> two of [B, 1, width, H]."""
        return rope[0][self.index][:, None], rope[1][self.index][:, None]

    def gather_bias(self, bias: Tensor | Packing | None) -> Tensor | Packing | None:
        """[B or 1, 1, L, keys] -> [B, 1, width, keys]; a bias that is equal for all queries stays as it is."""
        if isinstance(bias, Packing):
            return bias.select(self.index[0])
        if bias is None or bias.shape[2] == 1:
            return bias
        index = self.index[:, None, :, None].expand(-1, -1, -1, bias.shape[3])
        return bias.expand(len(index), -1, -1, -1).gather(2, index)

    def flatten(self, x: Tensor) -> Tensor:
        """[B, width, ...] -> [M, ...], selected positions only."""
        flat = x.flatten(0, 1)
        return flat if self.flat is None else flat[self.flat]

    def pad(self, x: Tensor, filler: float = 0) -> Tensor:
        """[M] -> [B, width], the filler where nothing is selected: the inverse of ``flatten``."""
        if self.flat is None:
            return x.view(self.index.shape)
        return x.new_full((self.index.numel(),), filler).index_copy_(0, self.flat, x).view(self.index.shape)


def _to_device(numbers: list[int], device: torch.device) -> Tensor:
    """Without waiting for the device: from page-locked memory, which it reads when it gets there."""
    held = torch.tensor(numbers)
    return (held.pin_memory() if device.type == "cuda" else held).to(device, non_blocking=True)

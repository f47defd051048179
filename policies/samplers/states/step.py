"""One denoising step, as the network is shown it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from policies.network.rows import Rows


@dataclass(frozen=True, slots=True)
class Shown:
    """ids      [b, L] int64: prompt, canvas and what follows it
    rows     the positions in play
    block    the positions of the block that is being filled
    members  [b] int64: which of the living members these are
    """

    ids: Tensor
    rows: Rows
    block: slice
    members: Tensor

    def first(self) -> Shown:
        """The first member alone."""
        return Shown(self.ids[:1], self.rows.take(1), self.block, self.members[:1])

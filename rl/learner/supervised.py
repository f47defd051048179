"""Supervised rows beside the rollouts of an update: which of them a rank learns, and in which passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from rl.types import Prompt


class Supervised(Protocol):
    def loss(self, prompts: Sequence[Prompt], weights: Sequence[float], seed: int) -> Tensor:
        """Sum over prompts of weight times the mean masked cross-entropy of their worked answers."""
        ...


def shares(
    rows: Sequence[Prompt], part: int, parts: int, rank: int, ranks: int, size: int
) -> list[tuple[list[Prompt], list[float]]]:
    """The passes of one rank in one of a step's ``parts`` mini-batches: at most ``size`` rows each, with their weights.

    Mini-batches take turns over the rows, and so do the ranks of each. The weights of all ranks add up to 1. All ranks make
    the same number of passes, with as many rows: one with too few fills up with a row of weight 0.
    """
    of_part = rows[part::parts]
    if not of_part:
        return []
    own = [(row, 1 / len(of_part)) for row in of_part[rank::ranks]]
    own += [(of_part[0], 0.0)] * (-(-len(of_part) // ranks) - len(own))
    cuts = [own[first : first + size] for first in range(0, len(own), size)]
    return [([row for row, _ in cut], [weight for _, weight in cut]) for cut in cuts]

"""A micro-batch with its log-probs from before the first update, and what an update finds in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from rl.learner.microbatches import MicroBatch
from rl.types import LossOutput


@dataclass(frozen=True, slots=True)
class Scored:
    """A micro-batch with what is known before the first update: N log-probs [b, L], one under each inner update's masks.

    old       None: not needed. One of them is None where it is the update's own log-prob, whose ratio is 1
    behavior  of the weights that sampled, None where that needs no correction
    check     [b, L] of the first inner update, from a pass of its own: what the update's own must equal; None: not checked
    totals    what the objective must know of all rollouts of this update; None: nothing, or these are all
    """

    data: MicroBatch
    old: Sequence[Tensor | None] | None
    ref: Sequence[Tensor | None] | None
    behavior: Tensor | None = None
    check: Tensor | None = None
    totals: Tensor | None = None

    def knows(self, first: Tensor) -> Scored:
        """With the first inner update's own log-probs, for the updates that have its masks as well."""
        old = None if self.old is None else [first if values is None else values for values in self.old]
        return replace(self, old=old, check=None)


@dataclass(frozen=True, slots=True)
class Backward:
    """What an update found in a micro-batch: its loss, the mean entropy of its terms, and its log-probs [b, L], detached."""

    output: LossOutput
    entropy: Tensor
    values: Tensor


def same_masks(data: MicroBatch) -> int:
    """How many inner updates, from the first, have its masks."""
    return next((n for n in range(1, len(data.fresh)) if data.fresh[n]), len(data.fresh))

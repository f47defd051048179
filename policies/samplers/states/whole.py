"""Every pass over the whole sequence: exact, whatever attends to what."""

from __future__ import annotations

from torch import Tensor

from policies.base import Policy
from policies.samplers import TEXT_SCHEDULES
from policies.samplers.states.step import Shown
from rl.types import TextSampling


class WholeStates:
    """Implements policies.samplers.states.base.States. Blocks are counted from the first token of the canvas."""

    def __init__(self, policy: Policy, sampling: TextSampling, members: int) -> None:
        self.policy, self.block_length = policy, sampling.block_length
        self.counts = TEXT_SCHEDULES[policy.habits.chosen(sampling).schedule].counts

    def offset(self, start: int) -> int:
        return 0

    def fill(self, stop: int) -> int:
        return 0

    def pace(self, masks: int, steps: int) -> list[int]:
        return self.counts(masks, steps)

    def ranked(self, shown: Shown) -> slice:
        return slice(0, shown.ids.shape[1])

    def hidden(self, shown: Shown) -> Tensor:
        return self.policy.hidden(shown.ids, rows=shown.rows)

    def keep(self, living: Tensor) -> None:
        """Nothing is kept from pass to pass."""

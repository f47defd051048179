"""Every pass over the whole sequence: exact, whatever attends to what."""

from __future__ import annotations

from torch import Tensor

from policies.base import Policy
from policies.samplers.states.step import Shown, reveal_counts
from rl.types import TextSampling


class WholeStates:
    """Implements policies.samplers.states.base.States. Blocks are counted from the first token of the canvas."""

    def __init__(self, policy: Policy, sampling: TextSampling, members: int) -> None:
        self.policy, self.block_length = policy, sampling.block_length

    def offset(self, start: int) -> int:
        return 0

    def pace(self, masks: int, steps: int) -> list[int]:
        return reveal_counts(masks, steps)

    def hidden(self, shown: Shown) -> Tensor:
        return self.policy.hidden(shown.ids, rows=shown.rows)

    def keep(self, living: Tensor) -> None:
        """Nothing is kept from pass to pass."""

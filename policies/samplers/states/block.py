"""Block-causal policies: a block is computed with the keys and values of all before it, which nothing can change.

Exact (SDAR, arXiv 2510.06303, section 3; BD3-LM, arXiv 2503.09573, section 3.3). No pass is spent on settling a block:
the first step of the next one computes both, and then keeps what belongs to the full one. The prompt comes with the
first step of all, once for a group.
"""

from __future__ import annotations

from torch import Tensor

from policies.base import Policy
from policies.network.cache import GroupCache
from policies.samplers import TEXT_SCHEDULES
from policies.samplers.states.step import Shown
from rl.types import TextSampling


class BlockStates:
    """Implements policies.samplers.states.base.States. Blocks are the policy's own, counted from the sequence's first token."""

    def __init__(self, policy: Policy, sampling: TextSampling, members: int) -> None:
        assert policy.block_length is not None
        self.policy, self.block_length = policy, policy.block_length
        self.counts = TEXT_SCHEDULES[policy.habits.chosen(sampling).schedule].counts
        self.cache = GroupCache(policy.new_cache(), members)

    def offset(self, start: int) -> int:
        return start % self.block_length

    def fill(self, stop: int) -> int:
        """Whole blocks are what the policy was trained on."""
        return -stop % self.block_length

    def pace(self, masks: int, steps: int) -> list[int]:
        """As in a whole block: what the prompt has of it takes no steps."""
        counts: list[int] = []
        for count in self.counts(self.block_length, steps):
            counts.append(min(count, masks))
            masks -= counts[-1]
        return counts

    def ranked(self, shown: Shown) -> slice:
        first = self._first(shown)
        return slice(first, first + self.block_length)

    def hidden(self, shown: Shown) -> Tensor:
        """Over all that is not settled yet, up to the end of the block."""
        first = self._first(shown)
        cache = self.cache.of(shown.members)
        # A block's first step is one for all members, so what is settled now is settled for all.
        unsettled = slice(cache.length, first + self.block_length)
        hidden = self.policy.hidden(shown.ids[:, unsettled], rows=shown.rows.since(unsettled.start), cache=cache)
        cache.commit(first - cache.length)
        return hidden

    def keep(self, living: Tensor) -> None:
        self.cache.keep(living)

    def _first(self, shown: Shown) -> int:
        """Where the policy's own block begins, which may be in the prompt."""
        return shown.block.start // self.block_length * self.block_length

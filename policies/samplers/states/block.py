"""Block-causal policies: a block is computed with the keys and values of all before it, which nothing can change.

Exact (SDAR, arXiv 2510.06303, section 3; BD3-LM, arXiv 2503.09573, section 3.3). No pass is spent on settling a block:
the first step of the next one computes both, and then keeps what belongs to the full one. The prompt comes with the
first step of all, once for a group.
"""

from __future__ import annotations

from torch import Tensor

from policies.base import Policy
from policies.network.cache import GroupCache
from policies.samplers.states.step import Shown, reveal_counts


class BlockStates:
    """Implements policies.samplers.states.base.States. Blocks are the policy's own, counted from the sequence's first token."""

    def __init__(self, policy: Policy, members: int) -> None:
        assert policy.block_length is not None
        self.policy, self.block_length = policy, policy.block_length
        self.cache = GroupCache(policy.new_cache(), members)

    def offset(self, start: int) -> int:
        return start % self.block_length

    def pace(self, masks: int, steps: int) -> list[int]:
        """As in a whole block: what the prompt has of it takes no steps."""
        counts: list[int] = []
        for count in reveal_counts(self.block_length, steps):
            counts.append(min(count, masks))
            masks -= counts[-1]
        return counts

    def hidden(self, shown: Shown) -> Tensor:
        """Over all that is not settled yet, up to the end of the block."""
        first = shown.block.start // self.block_length * self.block_length
        cache = self.cache.of(shown.members)
        # A block's first step is one for all members, so what is settled now is settled for all.
        unsettled = slice(cache.length, first + self.block_length)
        hidden = self.policy.hidden(shown.ids[:, unsettled], rows=shown.rows.since(unsettled.start), cache=cache)
        cache.commit(first - cache.length)
        return hidden

    def keep(self, living: Tensor) -> None:
        self.cache.keep(living)

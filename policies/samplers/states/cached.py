"""Key-value caches for policies that attend to the whole sequence: an approximation, asked for by name.

Fast-dLLM's (arXiv 2505.22618, section 3.2): a block's first step computes the whole sequence, and the steps after it
take the keys and values of what is outside the block as they were then. ``prefix`` keeps those before the block, and
computes the block and all behind it; ``dual`` keeps both sides. Keys are kept rotated, a group is one batch, and the
first step of all is computed once for it.
"""

from __future__ import annotations

from torch import Tensor

from policies.base import Policy
from policies.network.cache import GroupCache
from policies.samplers.states.step import Shown
from policies.samplers.states.whole import WholeStates
from rl.types import TextSampling


class PrefixStates(WholeStates):
    """Implements policies.samplers.states.base.States."""

    def __init__(self, policy: Policy, sampling: TextSampling, members: int) -> None:
        super().__init__(policy, sampling, members)
        self.members, self.block = members, slice(0, 0)

    def hidden(self, shown: Shown) -> Tensor:
        if shown.block != self.block:
            return self._whole(shown)
        anew = slice(self.start(shown), self.stop(shown))
        cache = self.cache.of(shown.members)
        return self.policy.hidden(shown.ids[:, anew], rows=shown.rows.since(anew.start), cache=cache)

    def start(self, shown: Shown) -> int:
        """Where what is computed anew begins: with the block, or with the token whose state predicts its first."""
        return max(0, shown.block.start - self.policy.shifted)

    def stop(self, shown: Shown) -> int:
        """Where what is computed anew ends."""
        return shown.ids.shape[1]

    def keep(self, living: Tensor) -> None:
        self.members = len(living)

    def _whole(self, shown: Shown) -> Tensor:
        """A block's first step: of all members, or of one where all are alike."""
        cache, self.block = self.policy.new_cache(exact=False), shown.block
        hidden = self.policy.hidden(shown.ids, rows=shown.rows, cache=cache)
        cache.hold(self.start(shown), shown.ids.shape[1])
        self.cache = GroupCache(cache, self.members, len(shown.ids))
        return hidden


class DualStates(PrefixStates):
    """Implements policies.samplers.states.base.States."""

    def stop(self, shown: Shown) -> int:
        return shown.block.stop

"""What a sampler of text asks of the network: the hidden states of the positions in play, and how often all is computed.

``whole`` passes over the whole sequence at each step, which is exact. Block-causal policies have an exact key-value cache
(``block``); for the others a cache is an approximation (``cached``), which ``TextSampling.cache`` asks for by name. A new
way is one file and one line in ``policies/samplers/__init__.py``.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from policies.base import Policy
from policies.samplers import CACHES
from policies.samplers.states.block import BlockStates
from policies.samplers.states.step import Shown
from rl.errors import PolicyError
from rl.types import TextSampling


class States(Protocol):
    """For one group, from its first step to its last."""

    @property
    def block_length(self) -> int:
        """Tokens of a block, the unit that is filled at a time."""
        ...

    def offset(self, start: int) -> int:
        """How many tokens of the first block lie before a canvas that begins at position ``start``."""
        ...

    def fill(self, stop: int) -> int:
        """How many tokens are missing from the last block of a canvas that ends before position ``stop``."""
        ...

    def pace(self, masks: int, steps: int) -> list[int]:
        """How many of a block's ``masks`` each of ``steps`` steps reveals at least."""
        ...

    def ranked(self, shown: Shown) -> slice:
        """The positions among which the original ranks those in play: Habits.whole_rank."""
        ...

    def hidden(self, shown: Shown) -> Tensor:
        """[M, D], the positions in play in row-major order."""
        ...

    def keep(self, living: Tensor) -> None:
        """A block is full; the members at ``living`` [b] int64 go on."""
        ...


def states_of(policy: Policy, sampling: TextSampling, members: int) -> States:
    """Raises PolicyError where the settings do not fit the policy."""
    own = policy.block_length
    CACHES.require("cache", sampling.cache)
    if own is None:
        return CACHES[sampling.cache](policy, sampling, members)
    check_blocks(policy.name, own, sampling)
    return BlockStates(policy, sampling, members)


def check_blocks(name: str, own: int, sampling: TextSampling) -> None:
    """Whether a block-causal policy with blocks of ``own`` tokens can sample so. Raises PolicyError."""
    if sampling.cache != "none":
        raise PolicyError(
            f"cache={sampling.cache}: {name} is block-causal and has an exact cache of its own; set cache=none"
        )
    if sampling.block_length % own or sampling.max_new_tokens % own:
        raise PolicyError(
            f"block_length={sampling.block_length}, max_new_tokens={sampling.max_new_tokens}: must be multiples of {own}, "
            f"the blocks of {name}"
        )
    blocks = sampling.max_new_tokens // own
    if sampling.steps % blocks:
        raise PolicyError(
            f"steps={sampling.steps}: must be a multiple of {blocks}, the blocks of {own} tokens that {name} fills"
        )

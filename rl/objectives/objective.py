"""What the config's checks and the learner know of an objective. It imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rl.registry import Takes, part, resolve


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss of a micro-batch's ``Terms``: a weighted sum over rollouts, so that micro-batches and ranks add up.

    function         (``rl.objectives.base.Terms``, ``UniGRPOConfig``) -> LossOutput, or ``module:attribute`` of it
    advantages       what becomes of a group's advantages [G] before they are used; None: nothing
    totals           (``Terms``, ``UniGRPOConfig``) -> [b, k] of each rollout, whose sums over each group's members, in all
                     micro-batches and on all ranks, it then finds in ``Terms.totals``; None: it needs no other rollout
    uses_old         it reads log-probs from before the first update
    pairs            rollouts come two by two, the better one first
    by_token         its derivative with respect to one token's value depends on no other token's value
    has_ratio        it has a ratio, so that ``ratio`` and ``importance_cap`` mean something
    needs_reference  it needs a reference policy, so that ``kl_coef`` is above 0
    """

    function: Callable[..., Any] | str = field(metadata=part(Takes(2)))
    advantages: Callable[..., Any] | str | None = field(default=None, metadata=part(Takes(1)))
    totals: Callable[..., Any] | str | None = field(default=None, metadata=part(Takes(2)))
    uses_old: bool = False
    pairs: bool = False
    by_token: bool = False
    has_ratio: bool = False
    needs_reference: bool = False

    @property
    def loss(self) -> Callable[..., Any]:
        return resolve(self.function)

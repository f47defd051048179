"""Objectives by name. A new one is one file here and one line below.

All take a micro-batch's ``Terms`` and give a loss that is a weighted sum over rollouts, so that micro-batches and ranks
add up to the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from rl.config import UniGRPOConfig
from rl.errors import ConfigError
from rl.losses import unigrpo
from rl.objectives.base import Terms, entropy_bonus
from rl.objectives.dpo import dpo
from rl.objectives.policy_gradient import policy_gradient
from rl.types import LossOutput


@dataclass(frozen=True, slots=True)
class Objective:
    """uses_old: it reads log-probs from before the first update. pairs: rollouts come two by two, the better one first.

    by_token: its derivative with respect to one token's value depends on no other token's value.
    """

    loss: Callable[[Terms, UniGRPOConfig], LossOutput]
    uses_old: bool = False
    pairs: bool = False
    by_token: bool = False


def _unigrpo(terms: Terms, config: UniGRPOConfig) -> LossOutput:
    old = terms.logp.detach() if terms.old_logp is None else terms.old_logp
    return unigrpo(
        terms.logp, old, terms.ref_logp, terms.advantages, terms.mask, config,
        lengths=terms.lengths, weights=terms.weights, scales=terms.scales, behavior_logp=terms.behavior_logp,
    )  # fmt: skip


OBJECTIVES: Mapping[str, Objective] = {
    "unigrpo": Objective(_unigrpo, uses_old=True, by_token=True),
    "policy_gradient": Objective(policy_gradient, by_token=True),
    "wd1": Objective(policy_gradient, by_token=True),
    "dpo": Objective(dpo, pairs=True),
}


def objective(name: str) -> Objective:
    """Raises ConfigError."""
    if name not in OBJECTIVES:
        raise ConfigError(f"objective={name!r}: allowed: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def loss_of(terms: Terms, config: UniGRPOConfig) -> LossOutput:
    """The configured objective, less the entropy bonus where that is asked for."""
    output = objective(config.objective).loss(terms, config)
    if terms.entropy is None:
        return output
    return replace(output, loss=output.loss - config.entropy_coef * entropy_bonus(terms))


__all__ = ["OBJECTIVES", "Objective", "Terms", "loss_of", "objective"]

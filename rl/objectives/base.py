"""What an objective is given, and how the configured one is applied."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rl.config.learner import UniGRPOConfig
from rl.errors import ConfigError
from rl.objectives import OBJECTIVES
from rl.types import LossOutput


@dataclass(frozen=True, slots=True)
class Terms:
    """One micro-batch under one inner update's masks. b rollouts, L tokens; values may be anything where mask is False.

    logp, old_logp, ref_logp  [b, L] token values of the policy, of the one that sampled, of the reference; old_logp is
                              None where it equals logp, and ref_logp where nothing needs it
    advantages                [b]
    mask                      [b, L] bool: the tokens that are scored
    lengths                   [b] tokens of the whole response
    weights                   [b] each rollout's weight in the mean
    scales                    [b] times the sum of a rollout's values: the estimate of its log-likelihood
    credit                    [b, L] times each token's part of the surrogate; None: 1
    behavior_logp             [b, L] token values of the weights that sampled, where that is to be corrected for; None: not
    entropy                   [b, L] of each scored token's distribution, in nats; None where no bonus asks for it
    groups                    [b] which group of its batch each rollout is of; None: all of one
    totals                    [P, k] float64, by group: the objective's ``totals``, summed over all rollouts of the update;
                              None where these are all of them
    """

    logp: Tensor
    old_logp: Tensor | None
    ref_logp: Tensor | None
    advantages: Tensor
    mask: Tensor
    lengths: Tensor
    weights: Tensor
    scales: Tensor
    entropy: Tensor | None = None
    behavior_logp: Tensor | None = None
    groups: Tensor | None = None
    totals: Tensor | None = None
    credit: Tensor | None = None


def sums_by_group(values: Tensor, groups: Tensor | None, count: int | None = None) -> Tensor:
    """values [b, k] of rollouts, of the groups [b] -> [P, k] float64. count: P; None: as many as there are."""
    where = torch.zeros(len(values), dtype=torch.int64, device=values.device) if groups is None else groups
    count = count or (int(where.max()) + 1 if len(where) else 1)
    found = torch.zeros((count, values.shape[1]), dtype=torch.float64, device=values.device)
    return found.index_add_(0, where, values.detach().double())


def entropy_bonus(terms: Terms) -> Tensor:
    """Weighted mean over rollouts of the mean entropy of their scored tokens."""
    assert terms.entropy is not None
    chosen = torch.where(terms.mask, terms.entropy, 0.0)
    return (chosen.sum(1) / terms.mask.sum(1).clamp(min=1) * terms.weights).sum()


def loss_of(terms: Terms, config: UniGRPOConfig) -> LossOutput:
    """The configured objective, less the entropy bonus where that is asked for."""
    output = OBJECTIVES[config.objective].loss(terms, config)
    if not isinstance(output, LossOutput):
        raise ConfigError(f"objective {config.objective!r}: returned {output!r:.80}; must be rl.types.LossOutput")
    if terms.entropy is None:
        return output
    return replace(output, loss=output.loss - config.entropy_coef * entropy_bonus(terms))

"""Regression of a response's log-likelihood on its advantage, without a ratio: GDSD and RSPO.

The optimum of KL-regularised reinforcement learning raises the log-likelihood of a response by its advantage over a
temperature, up to a constant that a group shares. So the advantage is a target for the change: the update follows the gap.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rl.config.learner import UniGRPOConfig
from rl.errors import ConfigError
from rl.losses import kl_term
from rl.objectives.base import Terms
from rl.types import LossOutput


def gdsd(terms: Terms, config: UniGRPOConfig) -> LossOutput:
    """``loss_i = (clip(L_i - L_old_i) / |o_i| - psi A_i)^2 + kl_coef KL(L_i - L_ref_i) / |o_i|``, a mean over rollouts.

    L is the estimate of a response's log-likelihood, its change from the weights that sampled clipped to
    [log(1 - clip_low), log(1 + clip_high)]; psi is ``residual_scale``. GDSD, arXiv 2605.29398, as its public trainer has it,
    where the KL is k2 of the whole estimate: ``kl_estimator: k2``.
    """
    old = terms.logp.detach() if terms.old_logp is None else terms.old_logp
    change = _change(terms, old).clamp(math.log(1 - config.clip_low), math.log(1 + config.clip_high))
    loss, metrics = _squared(terms, change, config)
    if terms.ref_logp is not None:
        each = kl_term(-_change(terms, terms.ref_logp), config) / terms.lengths.to(terms.logp.dtype)
        kl_loss = (each * terms.weights.to(each.dtype)).sum()
        loss = loss + config.kl_coef * kl_loss
        metrics["actor/kl_loss"] = kl_loss.detach()
    return LossOutput(loss, metrics)


def rspo(terms: Terms, config: UniGRPOConfig) -> LossOutput:
    """``loss_i = ((L_i - L_ref_i) / |o_i| - psi A_i)^2``, a mean over rollouts: the change is from the reference, and is its only
    regulariser (after RSPO, arXiv 2605.10218; per token, so that psi means the same for all lengths). ``kl_coef`` above 0 keeps
    the reference, and is read for nothing else. Raises ConfigError without a reference."""
    if terms.ref_logp is None:
        raise ConfigError("objective=rspo: needs a reference policy: set learner.algorithm.kl_coef above 0")
    return LossOutput(*_squared(terms, _change(terms, terms.ref_logp), config))


def _change(terms: Terms, before: Tensor) -> Tensor:
    """[b] L - L_before, under the same masks."""
    return torch.where(terms.mask, terms.logp - before, 0.0).sum(1) * terms.scales.to(terms.logp.dtype)


def _squared(terms: Terms, change: Tensor, config: UniGRPOConfig) -> tuple[Tensor, dict[str, Tensor]]:
    target = config.residual_scale * terms.advantages.to(change.dtype)
    gap = change / terms.lengths.to(change.dtype) - target
    loss = (gap.square() * terms.weights.to(change.dtype)).sum()
    with torch.no_grad():
        met = (change / terms.lengths.to(change.dtype) * terms.weights.to(change.dtype)).sum()
    return loss, {"actor/pg_loss": loss.detach(), "actor/residual_change": met}

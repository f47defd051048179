"""Regression of a response's log-likelihood on its advantage, without a ratio: GDSD, RSPO and TraFL.

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
from rl.objectives.base import Terms, sums_by_group
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


def trafl(terms: Terms, config: UniGRPOConfig) -> LossOutput:
    """``loss_i = (log Z_q + (L_i - L_ref_i) / |o_i| - psi A_i)^2``, a mean over rollouts: trajectory balance between the policy
    and the reference tilted by reward (after TraFL, arXiv 2605.13935; per token, as RSPO here).

    log Z_q is a prompt's own constant. The paper learns it. Here it is the value that minimises the loss over the prompt's
    rollouts, so the gap is compared within a group (VarGrad, arXiv 2010.10436, equation 7): a shift of all rewards of a
    prompt changes nothing. Raises ConfigError without a reference.
    """
    gap, weights = -_missing(terms, config), terms.weights.double()
    totals = terms.totals
    if totals is None:
        totals = sums_by_group(trafl_totals(terms, config), terms.groups)
    log_z = totals[:, 0] / torch.where(totals[:, 1] > 0, totals[:, 1], 1.0)
    own = log_z[0] if terms.groups is None else log_z[terms.groups]
    loss = ((gap + own.to(gap.dtype)).square() * weights.to(gap.dtype)).sum()
    with torch.no_grad():
        log_z_mean = (own.to(gap.dtype) * weights.to(gap.dtype)).sum()
        met = ((gap + config.residual_scale * terms.advantages.to(gap.dtype)) * weights.to(gap.dtype)).sum()
    return LossOutput(loss, {"actor/pg_loss": loss.detach(), "actor/residual_change": met, "actor/log_z": log_z_mean})


def trafl_totals(terms: Terms, config: UniGRPOConfig) -> Tensor:
    """[b, 2]: a rollout's weight times what its prompt's log Z would be for it alone, and its weight."""
    weights = terms.weights.double()
    return torch.stack([_missing(terms, config).detach().double() * weights, weights], dim=1)


def _missing(terms: Terms, config: UniGRPOConfig) -> Tensor:
    """[b] ``psi A_i - (L_i - L_ref_i) / |o_i|``"""
    if terms.ref_logp is None:
        raise ConfigError("objective=trafl: needs a reference policy: set learner.algorithm.kl_coef above 0")
    change = _change(terms, terms.ref_logp)
    return config.residual_scale * terms.advantages.to(change.dtype) - change / terms.lengths.to(change.dtype)


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

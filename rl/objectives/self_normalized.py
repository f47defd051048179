"""Self-normalised importance weights of whole responses: StableDRL (arXiv 2603.06743)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rl.config.learner import UniGRPOConfig
from rl.losses import RolloutMean, kl_term, normalizers
from rl.objectives.base import Terms, sums_by_group
from rl.types import LossOutput


def stabledrl(terms: Terms, config: UniGRPOConfig) -> LossOutput:
    """``loss = -sum_i W_i A_i L_i / |o_i|``, with ``W_i = s_i w_i / sum_j s_j w_j`` over all rollouts j of the update.

    ``w_i = min(exp((L_i - L_old_i) / |o_i|), weight_cap)``, a constant: cut whatever the sign of A, so that no noise of an
    estimate goes past it. L is the estimate of a response's log-likelihood, s its share in the mean. The W add up to 1, so
    that the update is a weighted mean of the rollouts' own gradients, as long as a policy gradient's whatever the ratios.
    As the public trainer has it, but its sum is over the rollouts that one rank holds of a prompt. ``kl_coef`` adds
    ``1/normalizer_i * sum over scored tokens of KL_t``; the paper has none.
    """
    weights = terms.weights.double()
    ratio, capped = _weights(terms, config)
    totals = terms.totals
    if totals is None:
        totals = sums_by_group(stabledrl_totals(terms, config), terms.groups)
    share = (weights * ratio / totals[:, 0].sum().clamp(min=torch.finfo(torch.float64).tiny)).to(terms.logp.dtype)
    scored = torch.where(terms.mask, terms.logp, 0.0).sum(1) * terms.scales.to(terms.logp.dtype)
    each = scored / terms.lengths.to(scored.dtype)
    loss = pg_loss = -(torch.where(share > 0, share * terms.advantages.to(share.dtype), 0.0) * each).sum()
    metrics = {
        "actor/pg_loss": pg_loss.detach(),
        "actor/weight_mean": (weights * ratio).sum(),
        "actor/weight_capped": (weights * capped).sum(),
    }
    if terms.ref_logp is not None:
        mean = RolloutMean(terms.mask, terms.logp, terms.weights)
        kl = kl_term(mean.select(terms.ref_logp) - mean.select(terms.logp), config)
        kl_loss = mean(kl, normalizers(terms.mask, terms.lengths, config))
        loss = pg_loss + config.kl_coef * kl_loss
        metrics["actor/kl_loss"] = kl_loss.detach()
    return LossOutput(loss, metrics)


def stabledrl_totals(terms: Terms, config: UniGRPOConfig) -> Tensor:
    """[b, 1]: share in the mean times importance weight."""
    return (terms.weights.double() * _weights(terms, config)[0])[:, None]


@torch.no_grad()
def _weights(terms: Terms, config: UniGRPOConfig) -> tuple[Tensor, Tensor]:
    """[b] float64 each: the weights, and 1 where they are cut."""
    if terms.old_logp is None:
        return torch.ones_like(terms.weights, dtype=torch.float64), torch.zeros_like(terms.weights, dtype=torch.float64)
    change = torch.where(terms.mask, terms.logp - terms.old_logp, 0.0).double().sum(1) * terms.scales.double()
    log_ratio, limit = change / terms.lengths.double(), math.log(config.weight_cap)
    return log_ratio.clamp(max=limit).exp(), (log_ratio >= limit).double()

"""Advantage times log-likelihood, without a ratio: SPG (arXiv 2510.09541) and wd1 (arXiv 2507.08838)."""

from __future__ import annotations

from rl.config.learner import UniGRPOConfig
from rl.losses import RolloutMean, kl_term, normalizers
from rl.objectives.base import Terms
from rl.types import LossOutput


def policy_gradient(terms: Terms, config: UniGRPOConfig) -> LossOutput:
    """``loss_i = 1/normalizer_i * sum over scored tokens of [-A_i * value_t + kl_coef * KL_t]``.

    With ``estimator=spg`` the values are SPG's bounds. With ``objective=wd1`` the advantages are wd1's weights, see
    ``rl.advantages.wd1_weights``. A token's advantage counts ``terms.credit`` times, where there is one.
    """
    mean = RolloutMean(terms.mask, terms.logp, terms.weights)
    normalizer = normalizers(terms.mask, terms.lengths, config)
    advantage = terms.advantages.to(terms.logp.dtype)[:, None]
    if terms.credit is not None:
        advantage = advantage * terms.credit.to(advantage.dtype)
    loss = pg_loss = mean(-advantage * mean.select(terms.logp), normalizer)
    metrics = {"actor/pg_loss": pg_loss.detach()}
    if terms.ref_logp is not None:
        kl_loss = mean(kl_term(mean.select(terms.ref_logp) - mean.select(terms.logp), config), normalizer)
        loss = pg_loss + config.kl_coef * kl_loss
        metrics["actor/kl_loss"] = kl_loss.detach()
    return LossOutput(loss, metrics)

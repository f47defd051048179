"""Preferences between the best and the worst rollout of a group (VRPO, LLaDA 1.5, arXiv 2505.19223, equation 6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from rl.config.learner import UniGRPOConfig
from rl.errors import ConfigError
from rl.objectives.base import Terms
from rl.types import LossOutput


def dpo(terms: Terms, config: UniGRPOConfig) -> LossOutput:
    """``-log sigmoid(beta * [(B(w) - B_ref(w)) - (B(l) - B_ref(l))])``, a mean over pairs; beta is ``kl_coef``.

    B is the estimate of a response's log-likelihood, under the same masks for policy and reference. Rollouts 0, 2, ...
    are the better ones, each followed by the worse one of its group. Raises ConfigError without a reference.
    """
    if terms.ref_logp is None:
        raise ConfigError("objective=dpo: needs a reference policy: set learner.algorithm.kl_coef (its beta) above 0")
    gain = torch.where(terms.mask, terms.logp - terms.ref_logp, 0.0).sum(1) * terms.scales.to(terms.logp.dtype)
    margin = config.kl_coef * (gain[0::2] - gain[1::2])
    weights = (terms.weights[0::2] + terms.weights[1::2]).to(margin.dtype)
    loss = (-F.logsigmoid(margin) * weights).sum()
    with torch.no_grad():
        metrics = {
            "actor/pg_loss": loss.detach(),
            "actor/dpo_margin": (margin * weights).sum(),
            "actor/dpo_accuracy": ((margin > 0).to(margin.dtype) * weights).sum(),
        }
    return LossOutput(loss, metrics)

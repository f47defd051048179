"""UniGRPO's loss (arXiv 2505.15809, equations 3 to 5), as an objective. ``rl.losses.unigrpo`` is the loss itself."""

from __future__ import annotations

from rl import losses
from rl.config.learner import UniGRPOConfig
from rl.objectives.base import Terms
from rl.types import LossOutput


def unigrpo(terms: Terms, config: UniGRPOConfig) -> LossOutput:
    old = terms.logp.detach() if terms.old_logp is None else terms.old_logp
    return losses.unigrpo(
        terms.logp, old, terms.ref_logp, terms.advantages, terms.mask, config,
        lengths=terms.lengths, weights=terms.weights, scales=terms.scales, behavior_logp=terms.behavior_logp,
        credit=terms.credit,
    )  # fmt: skip

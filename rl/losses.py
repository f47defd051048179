"""Objectives as pure functions: tensors and config in, loss and metrics out.

Shapes: B rollouts, L tokens. Every mean over rollouts is a weighted sum, so that the losses of micro-batches, or of
ranks, whose weights together are those of the whole batch add up to the loss of the whole batch.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from rl.errors import ConfigError
from rl.objectives.kl import KL_ESTIMATORS
from rl.objectives.normalizers import NORMALIZERS
from rl.types import LossOutput


class ObjectiveConfig(Protocol):
    """What the loss reads of ``rl.config.UniGRPOConfig``."""

    @property
    def clip_low(self) -> float: ...
    @property
    def clip_high(self) -> float: ...
    @property
    def kl_coef(self) -> float: ...
    @property
    def kl_estimator(self) -> str: ...
    @property
    def kl_clip(self) -> float | None: ...
    @property
    def normalizer(self) -> str: ...
    @property
    def normalizer_length(self) -> int | None: ...
    @property
    def ratio(self) -> str: ...
    @property
    def dual_clip(self) -> float | None: ...
    @property
    def importance_cap(self) -> float | None: ...
    @property
    def importance_level(self) -> str: ...


RATIOS = ("token", "sequence")


def unigrpo(
    logp: Tensor,
    old_logp: Tensor,
    ref_logp: Tensor | None,
    advantages: Tensor,
    mask: Tensor,
    config: ObjectiveConfig,
    lengths: Tensor | None = None,
    weights: Tensor | None = None,
    scales: Tensor | None = None,
    behavior_logp: Tensor | None = None,
    credit: Tensor | None = None,
) -> LossOutput:
    """UniGRPO's loss, to be minimised (arXiv 2505.15809, equations 3 to 5).

    For rollout i, over its M_i masked tokens t, with ``ratio = exp(logp - old_logp)``:
    ``loss_i = 1/M_i * sum_t [-min(ratio * A_i, clip(ratio, 1 - clip_low, 1 + clip_high) * A_i) + kl_coef * KL_t]``,
    with another factor in front under another normaliser, see ``normalizers``. The loss is the mean of loss_i over B.

    Options of ``config`` beyond the paper: ``dual_clip`` c bounds the loss of a rollout with A < 0 by -c * A (arXiv
    1912.09729, equation 5); ``ratio=sequence`` has one ratio for a rollout, exp of its log-likelihood's difference over
    |o_i| (GSPO, arXiv 2507.18071, equation 7; ESPO, arXiv 2512.03759, equation 9), and no factor in front of it.

    ``importance_cap`` C corrects for rollouts that older weights sampled: the surrogate counts
    ``min(exp(old_logp - behavior_logp), C)`` times, a constant (truncated importance sampling: IMPALA, arXiv 1802.01561,
    section 4.1), by token, or with ``importance_level=sequence`` by the ratio of a whole response, as above.

    logp, old_logp, ref_logp   [B, L] log-probs of the response's own tokens, all under the same mask; they may hold
                               anything where it is False. ref_logp may be None where kl_coef is 0
    advantages                 [B]
    mask                       [B, L] bool, True at masked response tokens: those that are scored
    lengths                    [B] |o_i|, tokens of the whole response; None: L. Only ``length`` reads it
    weights                    [B] each rollout's weight in the mean; None: 1/B
    scales                     [B] times the sum of a rollout's values: its log-likelihood; None: |o_i|/M_i. Only the
                               sequence ratio reads it
    behavior_logp              [B, L] log-probs of the weights that sampled, under the same mask; None: old_logp
    credit                     [B, L] times A_i in each token's surrogate, above 0; None: 1. Only for a ratio by token

    The loss keeps logp's dtype. Metrics are detached and add up over micro-batches as the loss does, except
    ``actor/ratio_max_deviation``, whose whole is the largest. Raises ConfigError, and ValueError for shapes.
    """
    _check(logp, old_logp, ref_logp, advantages, mask, config)
    mask = mask.bool()
    normalizer = normalizers(mask, lengths, config)
    mean = RolloutMean(mask, logp, _mean_weights(mask, weights, config))
    importance = None
    if behavior_logp is not None and config.importance_cap is not None:
        importance = importance_weights(old_logp, behavior_logp, mask, config, lengths, scales)
    log_ratio = mean.select(logp) - mean.select(old_logp)
    sequence = config.ratio == "sequence"
    ratio = _sequence_ratio(log_ratio, mask, lengths, scales) if sequence else log_ratio.exp()
    loss, metrics = _policy_loss(mean, ratio, log_ratio, advantages, normalizer, importance, credit, config)
    if ref_logp is not None:
        kl = kl_term(mean.select(ref_logp) - mean.select(logp), config)
        kl_loss = mean(kl, normalizer)
        loss = loss + config.kl_coef * kl_loss
        metrics["actor/kl_loss"] = kl_loss.detach()
    return LossOutput(loss, metrics)


def _policy_loss(
    mean: RolloutMean,
    ratio: Tensor,
    log_ratio: Tensor,
    advantages: Tensor,
    normalizer: Tensor,
    importance: Tensor | None,
    credit: Tensor | None,
    config: ObjectiveConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """ratio [B, L], or [B, 1] of whole responses -> the clipped surrogate's mean, and what is reported of it."""
    masked_count = mean.mask.sum(1).clamp(min=1)
    surrogate, plain, clipped = _surrogate(ratio, advantages, config)
    if config.ratio == "sequence":
        if importance is not None:
            surrogate = surrogate * (importance.sum(1, keepdim=True) / masked_count[:, None])
        pg_loss = mean.over_rollouts(surrogate)
    else:
        for factor in (importance, credit):
            surrogate = surrogate if factor is None else surrogate * factor.to(surrogate.dtype)
        pg_loss = mean(surrogate, normalizer)
    metrics: dict[str, Tensor] = {}
    with torch.no_grad():
        if importance is not None:
            capped = (importance >= (config.importance_cap or torch.inf)).to(log_ratio.dtype)
            metrics["actor/importance_mean"] = mean(importance, masked_count)
            metrics["actor/importance_capped"] = mean(capped, masked_count)
        metrics |= {
            "actor/pg_loss": pg_loss.detach(),
            "actor/pg_clipfrac": mean((clipped < plain).to(log_ratio.dtype).expand_as(log_ratio), masked_count),
            "actor/ppo_kl": mean(-log_ratio, masked_count),
            "actor/ratio_max_deviation": (ratio - 1).abs().max() if ratio.numel() else ratio.new_zeros(()),
        }
    return pg_loss, metrics


def _surrogate(ratio: Tensor, advantages: Tensor, config: ObjectiveConfig) -> tuple[Tensor, Tensor, Tensor]:
    """ratio [B, L] or [B, 1] -> the loss of each, and ratio * A without and with the clip."""
    advantage = advantages.to(ratio.dtype)[:, None]
    plain = ratio * advantage
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high) * advantage
    surrogate = -torch.minimum(plain, clipped)
    if config.dual_clip is not None:
        surrogate = torch.where(advantage < 0, torch.minimum(surrogate, -config.dual_clip * advantage), surrogate)
    return surrogate, plain, clipped


@torch.no_grad()
def importance_weights(
    old_logp: Tensor,
    behavior_logp: Tensor,
    mask: Tensor,
    config: ObjectiveConfig,
    lengths: Tensor | None = None,
    scales: Tensor | None = None,
) -> Tensor:
    """[B, L] min(old / behaviour, importance_cap) where the mask is True, 0 elsewhere; see ``unigrpo``."""
    log_ratio = torch.where(mask, old_logp - behavior_logp, 0.0)
    if config.importance_level == "sequence":
        ratio = _sequence_ratio(log_ratio, mask, lengths, scales).expand_as(log_ratio)
    else:
        ratio = log_ratio.exp()
    return torch.where(mask, ratio.clamp(max=config.importance_cap), 0.0)


def _sequence_ratio(log_ratio: Tensor, mask: Tensor, lengths: Tensor | None, scales: Tensor | None) -> Tensor:
    """[B, 1]: exp of the estimated log-likelihood's difference, over the response's length."""
    if scales is None:
        mean = log_ratio.sum(1) / mask.sum(1).clamp(min=1)
    else:
        mean = log_ratio.sum(1) * scales.to(log_ratio.dtype) / _lengths(lengths, log_ratio)
    return mean.exp()[:, None]


def normalizers(mask: Tensor, lengths: Tensor | None, config: ObjectiveConfig) -> Tensor:
    """[B] what the sum over a rollout's scored tokens is divided by: ``rl.objectives.normalizers``."""
    return NORMALIZERS[config.normalizer].divisor(mask, lengths, config.normalizer_length)


def _mean_weights(mask: Tensor, weights: Tensor | None, config: ObjectiveConfig) -> Tensor | None:
    """The caller's weights; where there are none and all tokens are to count the same, by scored tokens."""
    if weights is not None or not NORMALIZERS[config.normalizer].by_tokens:
        return weights
    count = mask.sum(1)
    return count.double() / count.sum().clamp(min=1)


def kl_term(log_ratio: Tensor, config: ObjectiveConfig) -> Tensor:
    """The estimate of each token, at most kl_clip where that is set; a token beyond it pulls no more.

    A token drawn many steps ago can be all but impossible under one mask: k3 grows as the ratio itself, and one such
    token outweighs the batch.
    """
    if config.kl_clip is None:
        return KL_ESTIMATORS[config.kl_estimator](log_ratio)
    return KL_ESTIMATORS[config.kl_estimator](log_ratio.clamp(max=20.0)).clamp(max=config.kl_clip)


def masked_cross_entropy(
    logp: Tensor, mask: Tensor, ratio: Tensor, lengths: Tensor, weights: Tensor | None = None
) -> LossOutput:
    """Negative evidence bound of masked diffusion, per token (LLaDA, arXiv 2502.09992, equations 3 and 5).

    ``loss_i = -1/(t_i * L_i) * sum over masked tokens of logp``, and the loss is the mean of loss_i over B.

    logp     [B, L] log-probs of the true tokens; anything where mask is False
    mask     [B, L] bool, True at masked tokens of the answer
    ratio    [B] t, the probability with which each token of the answer was masked, 0 < t <= 1
    lengths  [B] tokens of the whole answer
    weights  [B] each example's weight in the mean; None: 1/B

    ``sft/token_loss`` is the plain cross-entropy of a masked token, without 1/t.
    """
    mask = mask.bool()
    mean = RolloutMean(mask, logp, weights)
    loss = mean(-logp, ratio * lengths)
    with torch.no_grad():
        metrics = {"sft/loss": loss.detach(), "sft/token_loss": mean(-logp, mask.sum(1).clamp(min=1))}
    return LossOutput(loss, metrics)


class RolloutMean:
    """Mean over rollouts of a sum over masked tokens: values [B, L], divisor [B] -> scalar."""

    def __init__(self, mask: Tensor, like: Tensor, weights: Tensor | None) -> None:
        self.mask = mask
        self.zero = like.new_zeros(())
        self.weights = like.new_full((len(mask),), 1 / max(1, len(mask))) if weights is None else weights.to(like.dtype)

    def select(self, values: Tensor) -> Tensor:
        """0 where the mask is False. Selected, not multiplied: 0 * inf is not 0, neither forward nor in a gradient."""
        return torch.where(self.mask, values, self.zero)

    def __call__(self, values: Tensor, divisor: Tensor) -> Tensor:
        return (self.select(values).sum(1) / divisor * self.weights).sum()

    def over_rollouts(self, values: Tensor) -> Tensor:
        """values [B, 1] -> scalar; rollouts of weight 0 count nothing, whatever their value."""
        return torch.where(self.weights > 0, values[:, 0] * self.weights, self.zero).sum()


def _lengths(lengths: Tensor | None, like: Tensor) -> Tensor:
    if lengths is None:
        return torch.full((len(like),), like.shape[1], device=like.device)
    return lengths.clamp(min=1)


def _check(
    logp: Tensor,
    old_logp: Tensor,
    ref_logp: Tensor | None,
    advantages: Tensor,
    mask: Tensor,
    config: ObjectiveConfig,
) -> None:
    KL_ESTIMATORS.require("kl_estimator", config.kl_estimator)
    NORMALIZERS.require("normalizer", config.normalizer)
    if config.ratio not in RATIOS:
        raise ConfigError(f"ratio={config.ratio!r}: allowed: {', '.join(RATIOS)}")
    if ref_logp is None and config.kl_coef:
        raise ConfigError(f"kl_coef={config.kl_coef}: needs ref_logp, the reference policy's log-probs; or set it to 0")
    shapes = [("old_logp", old_logp.shape), ("mask", mask.shape)]
    shapes += [] if ref_logp is None else [("ref_logp", ref_logp.shape)]
    for name, shape in shapes:
        if shape != logp.shape:
            raise ValueError(f"{name}: shape {tuple(shape)} differs from logp's {tuple(logp.shape)}")
    if advantages.shape != logp.shape[:1]:
        raise ValueError(f"advantages: shape {tuple(advantages.shape)}, must be [B] with B={len(logp)}")

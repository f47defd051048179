"""Group-relative advantages (GRPO, arXiv 2402.03300; UniGRPO, arXiv 2505.15809, equation 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rl.types import Group

# Below this the members of a group are equal but for rounding: their advantages are 0, not rounding blown up to 1.
ZERO_STD = 1e-8


def group_advantages(
    scores: np.ndarray | Sequence[Group], *, scale_by_std: bool = True, baseline: str = "mean"
) -> np.ndarray:
    """(r - mean) / std over each group, with the population's std; without ``scale_by_std``, r - mean.

    ``baseline=leave_one_out`` compares with the mean of the other members: r - mean of the others, which is G/(G-1)
    times r - mean (RLOO, arXiv 2402.14740, equation 8).

    scores [P, G] gives [P, G] float64; P groups, of any sizes, give [B]: all rollouts in order. A group whose scores
    are all equal has advantages of exactly 0.
    """
    if isinstance(scores, np.ndarray):
        return _normalise(scores, scale_by_std, baseline)
    rows = [_normalise(_values(group), scale_by_std, baseline) for group in scores]
    return np.concatenate(rows) if rows else np.zeros(0)


def frac_reward_zero_std(groups: Sequence[Group]) -> float:
    """Share of groups whose scores are all equal, and which so teach nothing. 0 where there are no groups."""
    return float(np.mean([not scores_differ(group) for group in groups])) if groups else 0.0


def _values(group: Group) -> np.ndarray:
    return np.array([score.value for score in group.scores], dtype=np.float64)


def wd1_weights(advantages: np.ndarray) -> np.ndarray:
    """G * (softmax(A) - softmax(-A)) over a group's advantages [G]: wd1's weights (arXiv 2507.08838, equation 6).

    Times G, since its loss is a sum over a group and ours a mean over rollouts. A group of equals has weights of 0.
    """
    rise, fall = np.exp(advantages - advantages.max()), np.exp(advantages.min() - advantages)
    return len(advantages) * (rise / rise.sum() - fall / fall.sum())


def advantage_shares(group: Group) -> dict[str, float]:
    """By reward: its share of the variance of the group's scores, and so of its advantages. Shares add up to 1.

    The share is the covariance of the reward's term (``Score.terms``) with the score, over the score's variance: negative
    where learning goes against the reward. A reward that all members have alike, or that one of them lacks, is left out;
    so is everything where the scores are all equal.
    """
    if not scores_differ(group):
        return {}
    values = _values(group)
    centred, variance = values - values.mean(), values.var()
    shares: dict[str, float] = {}
    for name in group.scores[0].terms:
        if all(name in score.terms for score in group.scores):
            term = np.array([score.terms[name] for score in group.scores], dtype=np.float64)
            if term.std() > ZERO_STD:
                shares[name] = float((term * centred).mean() / variance)
    return shares


def frac_identical(group: Group) -> float:
    """0 where the tokens of all rollouts differ, 1 where all are the same: (G - different ones) / (G - 1)."""
    rollouts = group.rollouts
    different = {rollout.token_ids.tobytes() for rollout in rollouts}
    return (len(rollouts) - len(different)) / max(1, len(rollouts) - 1)


def best_and_worst(group: Group) -> Group:
    """The group's best rollout and its worst, in this order; of equals the first."""
    values = _values(group)
    chosen = int(values.argmax()), int(values.argmin())
    return replace(
        group, rollouts=tuple(group.rollouts[i] for i in chosen), scores=tuple(group.scores[i] for i in chosen)
    )


def most_varied(group: Group, count: int) -> Group:
    """The ``count`` members whose scores have the largest variance, in their order; all of them where there are no more.

    These are some of the lowest and some of the highest (PODS, arXiv 2504.13818, section 3.2); of equal choices the one with
    fewest of the lowest. Comparing them with their own mean is biased: a rare success weighs more than its share.
    """
    values = _values(group)
    if count >= len(values):
        return group
    order = np.argsort(values, kind="stable")
    choices = [np.concatenate([order[:low], order[len(order) - count + low :]]) for low in range(count + 1)]
    chosen = np.sort(choices[int(np.argmax([np.var(values[choice]) for choice in choices]))])
    return replace(
        group, rollouts=tuple(group.rollouts[i] for i in chosen), scores=tuple(group.scores[i] for i in chosen)
    )


def scores_differ(group: Group) -> bool:
    return bool(np.std(_values(group)) > ZERO_STD)


def _normalise(scores: np.ndarray, scale_by_std: bool, baseline: str) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    centred = scores - scores.mean(axis=-1, keepdims=True)
    if baseline == "leave_one_out":
        centred = centred * (scores.shape[-1] / max(1, scores.shape[-1] - 1))
    std = scores.std(axis=-1, keepdims=True)
    varied = std > ZERO_STD
    scale = np.where(varied, std, 1.0) if scale_by_std else 1.0
    return np.where(varied, centred / scale, 0.0)

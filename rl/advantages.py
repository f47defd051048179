"""Group-relative advantages (GRPO, arXiv 2402.03300; UniGRPO, arXiv 2505.15809, equation 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rl.types import Group

# Below this the members of a group are equal but for rounding: their advantages are 0, not rounding blown up to 1.
ZERO_STD = 1e-8


def group_advantages(scores: np.ndarray | Sequence[Group], *, scale_by_std: bool = True) -> np.ndarray:
    """(r - mean) / std over each group, with the population's std; without ``scale_by_std``, r - mean.

    scores [P, G] gives [P, G] float64; P groups, of any sizes, give [B]: all rollouts in order. A group whose scores
    are all equal has advantages of exactly 0.
    """
    if isinstance(scores, np.ndarray):
        return _normalise(scores, scale_by_std)
    rows = [_normalise(_values(group), scale_by_std) for group in scores]
    return np.concatenate(rows) if rows else np.zeros(0)


def frac_reward_zero_std(groups: Sequence[Group]) -> float:
    """Share of groups whose scores are all equal, and which so teach nothing. 0 where there are no groups."""
    return float(np.mean([np.std(_values(group)) <= ZERO_STD for group in groups])) if groups else 0.0


def _values(group: Group) -> np.ndarray:
    return np.array([score.value for score in group.scores], dtype=np.float64)


def _normalise(scores: np.ndarray, scale_by_std: bool) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    centred = scores - scores.mean(axis=-1, keepdims=True)
    std = scores.std(axis=-1, keepdims=True)
    varied = std > ZERO_STD
    scale = np.where(varied, std, 1.0) if scale_by_std else 1.0
    return np.where(varied, centred / scale, 0.0)

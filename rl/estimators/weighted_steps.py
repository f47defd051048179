"""Some steps of the sampler's own path, drawn with unequal chances, and weighted so that the sum stays unbiased."""

from __future__ import annotations

import numpy as np

from rl.errors import ConfigError
from rl.estimators.base import Revealed, Views
from rl.seeds import uniforms
from rl.types import MaskDraw

SPREAD = 0.1  # of the chances, over all steps alike: so no weight is above 10 steps / samples


def known(name: str, revealed: Revealed | None) -> Revealed:
    """Raises ConfigError where rollouts do not carry what the estimator reads."""
    if revealed is None:
        raise ConfigError(
            f"estimator {name!r}: the rollouts do not say how sure the policy was (Rollout.confidence, Rollout.entropy); "
            "sample them by unigrpo, or set learner.algorithm.estimator=trajectory"
        )
    return revealed


def groups_of(steps: np.ndarray, shrink: int) -> np.ndarray:
    """[L] which group of ``shrink`` neighbouring steps revealed each token, from 0."""
    return np.unique(steps, return_inverse=True)[1] // shrink


def chances(shares: np.ndarray) -> np.ndarray:
    """[S] not negative -> [S] float64: each step's chance, in proportion, with ``SPREAD`` of the whole spread evenly."""
    total = shares.sum()
    even = np.full(len(shares), 1 / len(shares))
    return (1 - SPREAD) * shares / total + SPREAD * even if total > 0 else even


def step_weights(chance: np.ndarray, samples: int, offset: float) -> np.ndarray:
    """[S] float64: what each step's terms count, 0 where it was not drawn. Over a uniform offset in [0, 1) the mean is 1.

    The points (k + offset) / samples, k = 0 .. samples - 1, lie in parts of [0, 1) as long as the chances: one point in each
    K-th, so that a step's number of points is at most 1 off its mean. A step with n points has weight n / (samples * chance).
    Where all steps may be taken, all are, each with weight 1.
    """
    if samples >= len(chance):
        return np.ones(len(chance))
    edges = np.cumsum(chance)[:-1]
    points = np.searchsorted(edges, (np.arange(samples) + offset) / samples, side="right")
    return np.bincount(points, minlength=len(chance)) / (samples * chance)


def weighted_views(group: np.ndarray, chance: np.ndarray, samples: int, draw: MaskDraw) -> Views:
    """One pass for each drawn group of steps: what it revealed is scored, and what came later is hidden as well."""
    weights = step_weights(chance, samples, float(uniforms(draw.seed, 1)[0][0]))
    chosen = np.flatnonzero(weights)[:, None]
    return Views(group >= chosen, ((group == chosen) * weights[chosen]).astype(np.float32))

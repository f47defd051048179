"""Estimates of KL(policy || reference) from one token that the policy wrote, by name.

Each takes log(reference / policy) of the token. J. Schulman, http://joschu.net/blog/kl-approx.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rl.registry import Registry, Takes

if TYPE_CHECKING:
    from torch import Tensor

KL_ESTIMATORS: Registry[Callable[[Tensor], Tensor]] = Registry(
    "KL estimator",
    {
        "k1": lambda log_ratio: -log_ratio,
        "k2": lambda log_ratio: log_ratio.square() / 2,
        "k3": lambda log_ratio: log_ratio.expm1() - log_ratio,
    },
    group="unigrpo.kl_estimators",
    member=Takes(1),
)

"""Scoring of responses. ``load_reward`` finds a reward by name; ``verify_math`` compares mathematical answers.

Both are imported when first used, so that ``import rewards`` is light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewards.base import Reward
    from rewards.math.verify import verify_math
    from rewards.registry import load_reward

__all__ = ["Reward", "load_reward", "verify_math"]

_HOMES = {"Reward": "rewards.base", "load_reward": "rewards.registry", "verify_math": "rewards.math.verify"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rewards' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)

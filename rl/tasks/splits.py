"""What generators share: the hash that keeps training and held-out rows apart, and checks of arguments."""

from __future__ import annotations

import hashlib
from typing import Any

from rl.errors import ConfigError, DataError

HELD_OUT_SHARE = 0.15


def content_hash(text: str) -> int:
    """The first 64 bits of a text's SHA-256: the same on every machine and in every version."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def split_of(text: str) -> str:
    """``val`` for about HELD_OUT_SHARE of all texts, ``train`` for the rest; no seed and no size changes it."""
    return "val" if content_hash(text) < HELD_OUT_SHARE * 2**64 else "train"


def require_int(source: str, name: str, value: Any, low: int, high: int | None = None) -> int:
    """An integer argument in [low, high]. Raises ConfigError."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        allowed = f"a whole number, {low} or more" if high is None else f"a whole number, {low} to {high}"
        raise ConfigError(f"data source {source}: {name}={value!r}; allowed: {allowed}")
    return value


def too_few(source: str, found: int, size: int, mend: str) -> DataError:
    """The error of a generator that ran out of different rows."""
    return DataError(f"data source {source}: size={size}, but only {found} different rows were found; {mend}")

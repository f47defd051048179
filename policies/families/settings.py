"""Typed values of a config.json. Each raises PolicyError, one line with the name, the value and what is allowed.

A name that is absent takes the original code's default, if it has one that we support. ``null`` is a value: the original
code gets it in place of its default.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rl.errors import PolicyError

MOST, MOST_LAYERS = 1 << 24, 10_000  # more than any model has, and little enough to be looked at
COPY = "copy config.json from the original checkpoint"


def whole(config: Mapping[str, Any], name: str, default: int | None = None, least: int = 1, most: int = MOST) -> int:
    """A whole number from ``least`` to ``most``."""
    value = _given(config, name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise wrong(name, value, f"a whole number of at least {least}")
    if value > most:
        raise wrong(name, value, f"at most {most}")
    return value


def whole_or_none(config: Mapping[str, Any], name: str) -> int | None:
    """None where the name is absent or null."""
    return None if config.get(name) is None else whole(config, name)


def number(config: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A finite number above 0."""
    value = _given(config, name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise wrong(name, value, "a number above 0")
    return float(value)


def _given(config: Mapping[str, Any], name: str, default: float | None) -> Any:
    if name not in config and default is None:
        raise PolicyError(f"config.json: no {name!r}, which this family needs; {COPY}")
    return config.get(name, default)


def flag(config: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """true or false; null counts as false, as in the original code's conditions."""
    value = config.get(name, default)
    if value is not None and not isinstance(value, bool):
        raise wrong(name, value, "true or false")
    return bool(value)


def require(config: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """What the original code can be configured to do and no released checkpoint does. Absent: as released."""
    for name, only in fixed.items():
        value = config.get(name, only)
        if value != only and not (only is False and value is None):
            raise PolicyError(
                f"config.json: {name}={shown(value)}: allowed: {shown(only)}, as in the released checkpoints; other "
                "kinds of this network are not supported"
            )


def wrong(name: str, value: object, allowed: str) -> PolicyError:
    return PolicyError(f"config.json: {name}={shown(value)}: must be {allowed}; {COPY}")


def shown(value: object, limit: int = 120) -> str:
    """On one line, cut to ``limit`` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."

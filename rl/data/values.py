"""Values of a row: what counts as missing, a value as text, and how a message shows it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

_NO_WIDTH = "\u200b\u2060\ufeff"  # blanks that str.strip() leaves
MAX_DEPTH = 50  # of lists and mappings in one another
_SHOWN = 80  # characters of a value that a message quotes


def shown(value: object, width: int = _SHOWN) -> str:
    """A value for a message: its repr, cut after ``width`` characters, so that no picture in base64 fills the screen."""
    if isinstance(value, str | bytes) and len(value) > width:
        return f"{value[:width]!r}... ({len(value):,} {'bytes' if isinstance(value, bytes) else 'characters'})"
    text = repr(value)
    return text if len(text) <= width else f"{text[:width]}..."


def listed(names: Any, width: int = 3 * _SHOWN) -> str:
    """Names with commas for a message, cut after ``width`` characters."""
    text = ", ".join(map(str, names))
    return text if len(text) <= width else f"{text[:width]}..."


def too_deep(value: Any) -> bool:
    """Whether lists and mappings lie more than MAX_DEPTH in one another. Level by level: what calls itself has an end."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = [
            each.values() if isinstance(each, Mapping) else each for each in level if isinstance(each, list | Mapping)
        ]
        level = [each for items in inner for each in items if isinstance(each, list | Mapping)]
        if not level:
            return False
    return True


def is_missing(value: object) -> bool:
    """None, NaN, blank text (also of blanks without a width), and a list or mapping that holds nothing else."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value[:1].isalnum() and not value.strip().strip(_NO_WIDTH).strip()
    if isinstance(value, bytes):
        return not value.strip()
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, Mapping):
        return all(map(is_missing, value.values()))
    return isinstance(value, list | tuple) and all(map(is_missing, value))


def text_of(value: Any) -> str:
    """A value as the text that a person would write: ``3.50`` for a decimal, ``2024-05-01`` for a date at midnight.

    Lists and mappings become JSON, without what is missing at the top level of a mapping or of a list of texts: a list of
    numbers with a gap is another list without it. Raises ValueError for bytes that are no
    UTF-8 text.
    """
    match value:
        case str():
            return value
        case bytes() | bytearray() | memoryview():
            try:
                return bytes(value).decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(f"bytes that are no UTF-8 text: {shown(bytes(value), 40)}") from error
        case Decimal():
            return format(value, "f") if value.is_finite() else str(value)
        case datetime() if value.time() == time() and value.tzinfo is None:
            return value.date().isoformat()
        case date() | time():
            return str(value)
        case bool() | int() | float():
            return json.dumps(value)
        case list() | tuple():
            return _json(_without_gaps(value))
        case Mapping():
            return _json({str(key): item for key, item in value.items() if not is_missing(item)})
    return str(value)


def _without_gaps(value: list[Any] | tuple[Any, ...]) -> list[Any]:
    there = [item for item in value if not is_missing(item)]
    return there if all(isinstance(item, str | bytes) for item in there) else list(value)


def _json(value: object) -> str:
    return json.dumps(value, default=_in_json, ensure_ascii=False)


def _in_json(value: Any) -> Any:
    """What JSON has no type for, inside a list or mapping: a decimal stays a number."""
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else float(value)
    return dict(value) if isinstance(value, Mapping) else text_of(value)

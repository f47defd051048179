"""When two values are the same: what a program returned and what its test expects, or two written numbers.

| two values | are the same |
|---|---|
| numbers (``int``, ``float``, ``Decimal``, ``Fraction``, NumPy's) | within a relative 1e-9, or 1e-9 below 1; two whole numbers exactly |
| infinities | where they have the same sign; never beside a finite number |
| NaN | never, also beside NaN: no result that is not a number is right |
| true and false | each only itself; 1 and 0 are numbers |
| texts, bytes, nothing | exactly |
| lists and tuples | item by item: JSON knows no tuples |
| objects | the same keys, as JSON writes them, with the same values |
| anything else, and values of two kinds | never |

No value makes these functions raise, whatever its size or depth, also where it contains itself.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

RELATIVE = 1e-9
_MAX_PAIRS = 400_000  # of values in one comparison: more, or a value that contains itself, is never the same
_MAX_BITS = 20_000  # of a whole number beside one that is not: far above what a float holds
_MAX_EXPONENT = 5_000  # of a written number
_NUMBER = re.compile(r"\s*([-+]?)((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([-+]?[0-9]{1,6}))?)\s*", re.ASCII)
_MAX_DIGITS = 4_000  # of a written number


def same(left: Any, right: Any, relative: float = RELATIVE) -> bool:
    """Whether two values are the same, by the table above. Example: ``same([1, (2.0, None)], [1.0, [2, None]])``."""
    pairs, left_over = [(left, right)], _MAX_PAIRS
    try:
        while pairs:
            left_over -= 1
            parts = _parts(*pairs.pop(), relative)
            if parts is None or len(pairs) + len(parts) > left_over:
                return False
            pairs += parts
    except Exception:  # a foreign type, or a Decimal that signals
        return False
    return True


def same_as_json(text: str, expected: Any) -> bool:
    """Whether a JSON text holds the expected value. A text that is no JSON holds none."""
    try:
        return same(json.loads(text), expected)
    except (ValueError, RecursionError):
        return False


def contains_nan(value: Any) -> bool:
    """Whether NaN is anywhere in a value: then nothing is the same as it, and a test that expects it cannot be passed."""
    values, left_over = [value], _MAX_PAIRS
    while values and left_over:
        left_over -= 1
        value = values.pop()
        if isinstance(value, np.ndarray | np.generic):
            value = value.tolist()
        if isinstance(value, Mapping):
            values += value.values()
        elif isinstance(value, list | tuple):
            values += value
        elif value.is_nan() if isinstance(value, Decimal) else isinstance(value, float) and math.isnan(value):
            return True
    return False


def number_of(text: str) -> Fraction | None:
    """A written decimal number, exactly: ASCII digits, a sign, a point, an exponent. None for anything else.

    Example: ``number_of("-1.50")`` is -3/2. ``NaN``, ``inf``, ``1_000``, other scripts' digits and 1e99999 are no numbers.
    """
    found = _NUMBER.fullmatch(text) if len(text) <= _MAX_DIGITS else None
    if found is None or abs(int(found.group(3) or 0)) > _MAX_EXPONENT:
        return None
    value = Fraction(found.group(2))
    return -value if found.group(1) == "-" else value


def within(left: Fraction, right: Fraction, relative: float, least: Fraction = Fraction(0)) -> bool:
    """Whether two exact numbers differ by at most ``relative`` of ``right``, or of ``least`` where that is larger."""
    return left == right or (relative > 0 and abs(left - right) <= Fraction(relative) * max(least, abs(right)))


def _parts(left: Any, right: Any, relative: float) -> list[tuple[Any, Any]] | None:
    """The pairs that must be the same for these two to be it; None where they are not."""
    left, right = _plain(left), _plain(right)
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
        return [] if left is right else None
    if _is_number(left) and _is_number(right):
        return [] if _same_numbers(left, right, relative) else None
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return list(zip(left, right, strict=True)) if len(left) == len(right) else None
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return _members(left, right)
    exact = type(left) is type(right) and isinstance(left, str | bytes)
    return [] if exact and left == right else None


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal | Fraction) and not isinstance(value, bool)


def _same_numbers(left: Any, right: Any, relative: float) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        return int(left) == int(right)
    if not (_is_finite(left) and _is_finite(right)):
        return left == right and not _is_finite(left) and not _is_finite(right)
    if isinstance(left, float) and isinstance(right, float):
        return abs(left - right) <= relative * max(1.0, abs(left), abs(right))
    if any(isinstance(value, int) and value.bit_length() > _MAX_BITS for value in (left, right)):
        return False
    if any(isinstance(value, Decimal) and abs(value.adjusted()) > _MAX_EXPONENT for value in (left, right)):
        return isinstance(left, Decimal) and isinstance(right, Decimal) and left == right
    first, second = Fraction(left), Fraction(right)
    return within(first, second, relative, max(Fraction(1), abs(first)))


def _is_finite(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    return not isinstance(value, float) or math.isfinite(value)


def _members(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> list[tuple[Any, Any]] | None:
    """Two objects' values by key; None where they have other keys."""
    mine, theirs = ({_key(key): value for key, value in side.items()} for side in (left, right))
    if len(mine) != len(left) or len(theirs) != len(right) or mine.keys() != theirs.keys():
        return None
    return [(value, theirs[key]) for key, value in mine.items()]


def _key(key: Any) -> str:
    """As JSON writes it. Raises TypeError where it cannot."""
    key = _plain(key)
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    raise TypeError(f"a key of type {type(key).__name__}")

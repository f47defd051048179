"""What a user's function returned, as a float: whatever Python or a numerical library calls a number."""

from __future__ import annotations

import math
from numbers import Complex, Number, Real
from typing import Any

import numpy as np

_FINITE = "; allowed: a finite number, or None"


class NotANumber(ValueError):
    """Its text says what the value is, ``remedy`` what is wanted in its place.

    unfit: it is a number, and none that a score can be: complex, not finite, too large.
    """

    def __init__(self, what: str, remedy: str = ", not a number or None", *, unfit: bool = False) -> None:
        super().__init__(what)
        self.remedy, self.unfit = remedy, unfit


def number_of(value: Any) -> float:
    """Python's and NumPy's numbers and booleans, Decimal, Fraction, and arrays and tensors without dimensions.

    Raises NotANumber for everything else, and for what no finite float is near: NaN, infinities, 10**400, complex numbers.
    """
    single = _unwrapped(value)
    if isinstance(single, Complex) and not isinstance(single, Real):
        raise NotANumber(f"{kind(value)}, which is complex", _FINITE, unfit=True)
    if isinstance(single, str | bytes | bytearray) or not _has_float(single):
        raise NotANumber(kind(value))
    try:
        number = float(single)
    except OverflowError:
        raise NotANumber(f"{kind(value)} that no float can hold", _FINITE, unfit=True) from None
    except Exception as error:  # whatever a class of the user's own raises
        what = f"{kind(value)} without a float ({type(error).__name__})"
        raise NotANumber(what, unfit=isinstance(single, Number)) from error
    if not math.isfinite(number):
        raise NotANumber(str(number), _FINITE, unfit=True)
    return number


def as_list(values: Any) -> list[Any] | None:
    """A list, tuple, or array or tensor of one dimension as a list; None for anything else."""
    if isinstance(values, list | tuple):
        return list(values)
    shape = getattr(values, "shape", None)
    return list(values) if isinstance(shape, tuple) and len(shape) == 1 else None


def kind(value: Any) -> str:
    """``a str``, ``an int``, ``None``, ``a Tensor of shape (2, 1)``."""
    if value is None:
        return "None"
    name, shape = type(value).__name__, getattr(value, "shape", None)
    sized = f" of shape {tuple(shape)}" if isinstance(shape, tuple) and shape else ""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}{sized}"


def _unwrapped(value: Any) -> Any:
    """The Python number in a NumPy scalar, or in an array or tensor without dimensions; any other value as it is."""
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or not hasattr(value, "item"):
        return value
    if shape:
        hint = ": .item() gives it" if all(size == 1 for size in shape) else ""
        raise NotANumber(kind(value), f", not one number{hint}")
    if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):  # their item() may be a count of nanoseconds
        raise NotANumber(f"{kind(value)}, which is a time")
    if isinstance(value, np.ma.MaskedArray) and bool(np.ma.getmaskarray(value)):
        raise NotANumber("a masked value")
    try:
        return value.item()
    except Exception as error:  # a tensor without data
        raise NotANumber(f"{kind(value)} without a value ({type(error).__name__})") from error


def _has_float(value: Any) -> bool:
    return hasattr(type(value), "__float__") or hasattr(type(value), "__index__")

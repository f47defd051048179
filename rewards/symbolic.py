"""Equality of two expressions by math-verify, confirmed by evaluation. Runs only inside ``rewards.isolate``.

math-verify compares rounded numbers, so tiny ones look equal and an unread rest of an expression goes unnoticed
(1/2^99 and 1/2^98; 1 - 1/e and 1 + 1/e). So its yes is confirmed, and its no for plain expressions is reviewed, by
evaluating both sides to 40 digits at a few points: two expressions that agree there are taken to be the same
(Schwartz 1980, Zippel 1979: polynomial identity testing).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from math_verify import parse, verify
from math_verify.parser import LatexExtractionConfig
from sympy import Expr, Float, I, Rational

_POINTS = (Rational(13, 7), Rational(-5, 3), Rational(29, 11))
_DIGITS = 40
_CLOSE, _CLOSE_FLOAT = Rational(1, 10**25), Rational(1, 10**12)  # relative; a Float has 15 digits
_ROUNDED_DIGITS = 5
_LAST_LETTER = re.compile(r"(?<=[0-9}])([a-z])$")  # math-verify takes the t of 10t for a unit, and drops it
# Of our own making: what an answer may hold, so that the parser has met each kind of token after each other kind.
_WARM_UP = (
    (r"\sqrt{8}", r"2\sqrt{2}"),
    (r"-\frac{5}{2}x-\frac{29}{4}", r"y=-\frac{5}{2}x-\frac{29}{4}"),
    (r"x^3-6x^2+64", r"64-6x^2+x^{3}+1"),
    (r"(x, y)=(-5, 1)", r"(-5,1)"),
    (r"(-\infty, 1)\cup(1, 3]", r"(-\infty,1)\cup[2,3]"),
    (r"\frac{\sqrt{3}}{2}\pi", r"\pi\cdot\frac{3}{2\sqrt{3}}"),
    (r"2x-y+3z+8=0", r"3x+(y-z)(2)=1"),
    (r"3+4i", r"4i+3"),
    (r"1\cdot(-3x^4+5x^2)", r"\left(a+b\right)^2"),
    (r"\sqrt[3]{2}", r"2^{1/3}"),
    (r"2^{\frac{1}{2}}", r"\frac{1}{2^{n}}"),
    (r"\sin(x)", r"\cos^2 x"),
    (r"\log_2(8)", r"\ln 2+e"),
    (r"x\le 3", r"x<\frac{1}{2}"),
    (r"\frac{x+1}{x^2-1}", r"\frac{a-b}{c d}"),
    (r"1.5x", r"0.333"),
    (r"\binom{5}{2}", r"5!"),
    (r"|x-1|", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
)
_DECIMAL = re.compile(r"-?[0-9]*\.([0-9]+)")


def equal(pair: Mapping[str, str]) -> bool:
    """``{"answer", "reference"}``, each one expression in LaTeX without dollar signs."""
    answer, reference = _parse(pair["answer"]), _parse(pair["reference"])
    if answer is None or reference is None:
        return False
    if isinstance(answer, Expr) and isinstance(reference, Expr):
        decimals = [_DECIMAL.fullmatch(text) for text in pair.values()]
        rounding = [
            Rational(1, 2 * 10 ** len(match.group(1))) for match in decimals if match and _is_long(match.group())
        ]
        agrees = _agree(answer, reference, max(rounding, default=Rational(0)))
        if agrees is not None:
            return agrees
    return bool(verify(reference, answer, timeout_seconds=None))


def warm_up() -> None:
    """Most of a first parse is the parser learning its own tables (ANTLR builds them as it goes, per process)."""
    for answer, reference in _WARM_UP:
        equal({"answer": answer, "reference": reference})


def _parse(text: str) -> Any:
    """A sympy object, or None where the text is not understood as a whole."""
    if "$" in text:
        return None
    text = _LAST_LETTER.sub(r"{\1}", text)
    found = parse(f"${text}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)  # pyright: ignore
    return found[0] if found and not isinstance(found[0], str) else None


def _is_long(decimal: str) -> bool:
    """Enough significant digits to stand for the number that it rounds."""
    return len(re.sub(r"[^0-9]", "", decimal).lstrip("0")) >= _ROUNDED_DIGITS


def _agree(left: Expr, right: Expr, rounding: Any) -> bool | None:
    """Whether both have the same value wherever both can be evaluated; None where they cannot."""
    left, right = _with_imaginary_unit(left), _with_imaginary_unit(right)
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    tolerance = _CLOSE_FLOAT if left.has(Float) or right.has(Float) else _CLOSE
    compared = 0
    for shift in range(len(_POINTS) if symbols else 1):
        point = {symbol: _POINTS[(shift + place) % len(_POINTS)] + place for place, symbol in enumerate(symbols)}
        values = [complex_value(side, point) for side in (left, right)]
        if values[0] is None or values[1] is None:
            continue
        scale = max(abs(values[0]), abs(values[1]))
        if abs(values[0] - values[1]) > max(tolerance * scale, rounding):
            return False
        compared += 1
    return True if compared else None


def _with_imaginary_unit(expression: Expr) -> Expr:
    """math-verify reads i as a variable."""
    return expression.subs({symbol: I for symbol in expression.free_symbols if str(symbol) == "i"})  # pyright: ignore


def complex_value(expression: Expr, point: Mapping[Any, Any]) -> Any:
    """The expression's value at a point as an mpmath number of 40 digits, or None where it has none."""
    value = expression.subs(point).evalf(_DIGITS)
    return value if value.is_number and value.is_finite else None

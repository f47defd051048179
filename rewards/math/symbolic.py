"""Equality of two expressions by math-verify, confirmed by evaluation. Runs only inside ``rewards.sandbox.parent``.

math-verify compares rounded numbers, so tiny ones look equal and an unread rest of an expression goes unnoticed
(1/2^99 and 1/2^98; 1 - 1/e and 1 + 1/e). So its yes is confirmed, and its no for plain expressions is reviewed, by
evaluating both sides to 60 digits at a few points: two expressions that agree there are taken to be the same
(Schwartz 1980, Zippel 1979: polynomial identity testing).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from math_verify import parse, verify
from math_verify.parser import LatexExtractionConfig
from sympy import Abs, Expr, Float, I, Pow, Rational

# The last is positive for every symbol: some expressions are real nowhere else.
_POINTS = (Rational(13, 7), Rational(-5, 3), Rational(29, 11))
_POSITIVE = Rational(17, 5)
_DIGITS, _GUARD = 60, 15  # so that values agree to 45 digits, and those above 1 to 45 places; and
_CLOSE_FLOAT = Rational(1, 10**12)  # a Float, which has 15 digits, to 12
_MOST_DIGITS = 2_000
_ROUNDED_DIGITS, _ROUNDED_PLACES = 5, 5  # as in rewards.math.quantities
_LAST_LETTERS = re.compile(r"(?<=[0-9} ])[a-z]{1,3}$")  # math-verify takes the t of 10t for a unit, and drops it
_NAMES = re.compile(r"\\[A-Za-z]+|[A-Za-z]")  # commands are one name: \Delta, \sin
_FREE = "qwzvujkhmnabcfgloprstxy"
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
    texts = _apart(pair["answer"], pair["reference"])
    answer, reference = map(_parse, texts)
    if answer is None or reference is None:
        return False
    if isinstance(answer, Expr) and isinstance(reference, Expr):
        decimals = [_DECIMAL.fullmatch(text) for text in texts]
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


def _apart(*texts: str) -> tuple[str, ...]:
    """The texts with another letter for each capital whose small letter is there too, in any of them: math-verify takes R for
    r, so that R^2 - r^2 would be 0."""
    used = {name for text in texts for name in _NAMES.findall(text)}
    free = iter([letter for letter in _FREE if not {letter, letter.upper()} & used])
    both = sorted(name for name in used if name[-1:].isalpha() and name != name.lower() and name.lower() in used)
    instead = {name: next(free, name) for name in both}
    return tuple(_NAMES.sub(lambda match: instead.get(match.group(), match.group()), text) for text in texts)


def _parse(text: str) -> Any:
    """A sympy object, or None where the text is not understood as a whole."""
    if "$" in text:
        return None
    text = _LAST_LETTERS.sub(lambda match: "".join(f"{{{letter}}}" for letter in match.group()), text)
    found = parse(f"${text}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)  # pyright: ignore
    return found[0] if found and not isinstance(found[0], str) else None


def _is_long(decimal: str) -> bool:
    """Enough significant digits to stand for the number that it rounds."""
    digits = len(re.sub(r"[^0-9]", "", decimal).lstrip("0"))
    return digits >= _ROUNDED_DIGITS and len(decimal.partition(".")[2]) >= _ROUNDED_PLACES


def _agree(left: Expr, right: Expr, rounding: Any) -> bool | None:
    """Whether both have the same value wherever both can be evaluated; None where they cannot."""
    left, right = _with_imaginary_unit(left), _with_imaginary_unit(right)
    agree = _agree_as_written(left, right, rounding, lambda value: value)
    return _agree_as_written(left, right, rounding, _with_real_roots) if agree is False else agree


def _agree_as_written(left: Expr, right: Expr, rounding: Any, read: Callable[[Any], Any]) -> bool | None:
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    of_reals = not (left.has(I) or right.has(I))
    compared = 0
    for point in _points(symbols):
        pair = _values(read(left.subs(point).doit()), read(right.subs(point).doit()))
        if pair is None:
            continue
        if symbols and of_reals and all(value.is_real is False for value in pair):
            continue  # x sqrt(x) and sqrt(x^3) are the same wherever both are real
        scale, close = max(abs(value) for value in pair), Rational(0)
        difference = abs(pair[0] - pair[1])
        if not all(isinstance(value, Rational) for value in pair):
            floats = left.has(Float) or right.has(Float)
            exact = Rational(1, 10 ** (_digits(*pair) - _GUARD))
            close = (_CLOSE_FLOAT if floats else exact) * scale
        if difference > max(rounding, close):
            return False
        compared += 1
    return True if compared else None


def _points(symbols: list[Any]) -> Iterator[dict[Any, Any]]:
    if not symbols:
        yield {}
        return
    for shift in range(len(_POINTS)):
        yield {symbol: _POINTS[(shift + place) % len(_POINTS)] + place for place, symbol in enumerate(symbols)}
    yield {symbol: _POSITIVE + Rational(place, 3) for place, symbol in enumerate(symbols)}


def _values(left: Any, right: Any) -> tuple[Any, Any] | None:
    """Rational where both are, else to so many digits that the last is far behind the point; None where one has no value."""
    if isinstance(left, Rational) and isinstance(right, Rational):
        return left, right  # 2^2008 - 2 and 2^2008 - 3 agree in 600 digits
    rough = [side.evalf(_DIGITS) for side in (left, right)]
    if not all(value.is_number and value.is_finite for value in rough):
        return None
    digits = _digits(*rough)
    return (rough[0], rough[1]) if digits == _DIGITS else (left.evalf(digits), right.evalf(digits))


def _digits(left: Any, right: Any) -> int:
    scale = max(abs(left), abs(right))
    return min(_DIGITS + (len(str(int(scale))) - 1 if scale > 10 else 0), _MOST_DIGITS)


def _is_odd_root(expression: Any) -> bool:
    return (
        isinstance(expression, Pow)
        and expression.base.is_negative is True
        and isinstance(expression.exp, Rational)
        and expression.exp.q % 2 == 1 < expression.exp.q
    )


def _real_root(power: Any) -> Any:
    """A school's cube root of -8 is -2; the principal one is complex."""
    size = Abs(power.base) ** power.exp
    return -size if power.exp.p % 2 else size


def _with_real_roots(value: Any) -> Any:
    return value.replace(_is_odd_root, _real_root)


def _with_imaginary_unit(expression: Expr) -> Expr:
    """math-verify reads i as a variable."""
    return expression.subs({symbol: I for symbol in expression.free_symbols if str(symbol) == "i"})  # pyright: ignore

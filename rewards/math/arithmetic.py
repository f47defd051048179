r"""Rational arithmetic in text, exactly: ``+ - * / ^``, ``\frac{}{}``, brackets and factorials, by recursive descent.

Length, depth, exponents and size are capped, so a hostile text costs microseconds and is simply not arithmetic.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

MAX_LENGTH = 400  # characters
_MAX_DEPTH = 20
_MAX_EXPONENT = 1_000
_MAX_FACTORIAL = 300
_MAX_BITS = 8_000

_TOKEN = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|(\\frac|\\cdot|\\div|[-+*/^(){}!]))")


def evaluate(text: str) -> Fraction:
    """Example: ``evaluate("2^{3}/5")`` is 8/5. Raises ValueError or ArithmeticError for anything else, or over the caps."""
    if len(text) > MAX_LENGTH:
        raise ValueError("too long")
    return _Arithmetic(text).value()


class _Arithmetic:
    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ValueError(f"not arithmetic: {text[position : position + 20]!r}")
            self.tokens.append(match.group().strip())
            position = match.end()
        self.at = 0
        self.depth = 0

    def value(self) -> Fraction:
        result = self._sum()
        if self.at != len(self.tokens):
            raise ValueError("trailing text")
        return result

    def _next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self, expected: str = "") -> str:
        token = self._next()
        if not token or (expected and token != expected):
            raise ValueError(f"expected {expected or 'more'}")
        self.at += 1
        return token

    def _sum(self) -> Fraction:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise ValueError("too deep")
        result = self._product()
        while self._next() in ("+", "-"):
            result = _capped(result + self._product() if self._take() == "+" else result - self._product())
        self.depth -= 1
        return result

    def _product(self) -> Fraction:
        result = self._signed()
        while self._next() in ("*", "/", r"\cdot", r"\div", "("):
            if self._next() == "(" or self._next() in ("*", r"\cdot"):
                result = _capped(result * self._signed(skip=self._next() != "("))
            else:
                result = _capped(result / self._signed(skip=True))
        return result

    def _signed(self, skip: bool = False) -> Fraction:
        if skip:
            self._take()
        sign = 1
        while self._next() in ("+", "-"):
            sign = -sign if self._take() == "-" else sign
        return sign * self._power()

    def _power(self) -> Fraction:
        base = self._postfix()
        if self._next() != "^":
            return base
        self._take("^")
        exponent = self._group() if self._next() == "{" else self._atom()
        if exponent.denominator != 1 or abs(exponent) > _MAX_EXPONENT:
            raise ValueError("exponent")
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if size * abs(exponent) > _MAX_BITS:
            raise ValueError("too large")
        return base ** int(exponent)

    def _postfix(self) -> Fraction:
        value = self._atom()
        if self._next() != "!":
            return value
        self._take("!")
        if value.denominator != 1 or not 0 <= value <= _MAX_FACTORIAL:
            raise ValueError("factorial")
        return Fraction(math.factorial(int(value)))

    def _atom(self) -> Fraction:
        token = self._take()
        if token == r"\frac":
            return _capped(self._group() / self._group())
        if token in "({":
            result = self._sum()
            self._take(")" if token == "(" else "}")
            return result
        if not token[0].isdigit() and token[0] != ".":
            raise ValueError(f"unexpected {token!r}")
        _, _, exponent = token.lower().partition("e")
        if exponent and abs(int(exponent)) > _MAX_EXPONENT:
            raise ValueError("exponent")
        return Fraction(token)

    def _group(self) -> Fraction:
        self._take("{")
        result = self._sum()
        self._take("}")
        return result


def _capped(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise ValueError("too large")
    return value

"""Reads the arithmetic out of a worked solution in English: ``16 girls x 3 = 48 kids`` becomes ``16*3=48``."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = r"\d+(?:\.\d+)?%?"
_UNIT = r"(?:/[A-Za-z]+|(?: (?!x |and |because |so )[A-Za-z'-]+){1,5}(?:/[A-Za-z]+)?)?"
_TERM = rf"{_NUMBER}{_UNIT}"
_EQUATION = re.compile(rf"(?<![\d./*])({_TERM}(?: ?[-+*/] ?{_TERM})+) ?= ?({_NUMBER})")
_SPELLINGS = (
    (r"[$€£]", ""),
    (r"×|(?<=[\w%]) ?x (?=\d)", " * "),
    ("÷", "/"),
    (r"(\d) ?\((\d+(?:\.\d+)?)\)", r"\1*\2"),
    (r"(?<=\d),(?=\d{3}\b)", ""),
    (r"(\d)\.0+\b", r"\1"),
    (r" +", " "),
)


def equations(text: str) -> list[str]:
    """Every correct equation in a text, in order, without words, units and spaces. Others are left out."""
    for pattern, plain in _SPELLINGS:
        text = re.sub(pattern, plain, text)
    found = []
    for left, right in _EQUATION.findall(text):
        parts = re.findall(rf"{_NUMBER}|(?<=[\s\d%A-Za-z])[-+*/](?=[ \d])", left)
        if _is_true(parts, right):
            found.append("".join(parts) + "=" + right)
    return list(dict.fromkeys(found))


def chain_value(parts: list[str]) -> Fraction | None:
    """Value of ``[number, operator, number, ...]`` by the usual precedence; None where it is no such chain."""
    if len(parts) % 2 == 0 or any((part in "+-*/") != bool(index % 2) for index, part in enumerate(parts)):
        return None
    total, product, sign = Fraction(0), _number(parts[0]), 1
    for operator, part in zip(parts[1::2], parts[2::2], strict=True):
        number = _number(part)
        if operator == "*":
            product *= number
        elif operator == "/" and number:
            product /= number
        elif operator == "/":
            return None
        else:
            total, product, sign = total + sign * product, number, 1 if operator == "+" else -1
    return total + sign * product


def _number(text: str) -> Fraction:
    return Fraction(text[:-1]) / 100 if text.endswith("%") else Fraction(text)


def _is_true(parts: list[str], right: str) -> bool:
    return chain_value(parts) == _number(right)

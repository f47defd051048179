r"""A value that was asked for must be worked out: ``3*4``, ``5!`` and ``\sqrt{16}`` may be the question itself.

| the reference | an answer is refused where |
|---|---|
| a written number: ``12``, ``3/4``, ``50%``, ``2.5 kg`` | it is no written number |
| anything else | it has an integral, a sum, a limit, a derivative, a determinant, a gcd, which the reference has not |
| without variables | it has a function of numbers (sine, logarithm, factorial, binomial), whose kind the reference has not |

A reference that itself stands so, ``10!`` or ``\binom{10}{3}``, takes an answer that stands so.
"""

from __future__ import annotations

import re

from rewards.math.quantities import is_literal
from rewards.math.typed import is_words

_NAMES = r"(?<![A-Za-z\\])(?:{})(?=[( ])"
_ASKED = {
    "integral": re.compile(r"\\i*int(?![A-Za-z])|∫|" + _NAMES.format("Integral|integrate|Int|int|quad")),
    "sum": re.compile(r"\\(?:sum|prod)(?![A-Za-z])|" + _NAMES.format("Sum|Product|summation|product|sum|prod")),
    "limit": re.compile(r"\\lim(?![A-Za-z])|" + _NAMES.format("Limit|limit|lim")),
    "derivative": re.compile(
        r"\\frac\{(?:d|\\partial)(?:\^\{?[0-9]\}?)?[^{}]*\}\{(?:d|\\partial) ?[a-z]|"
        + _NAMES.format("Derivative|diff|differentiate")
    ),
    "determinant": re.compile(r"\\det(?![A-Za-z])|vmatrix|Vmatrix|" + _NAMES.format("det|Determinant")),
    "whole numbers": re.compile(
        r"\\(?:gcd|lcm|bmod|pmod|mod|max|min)(?![A-Za-z])|\\operatorname\{[a-z]+\}|"
        + _NAMES.format("gcd|lcm|mod|max|min|Mod|ilcm|igcd")
    ),
    "rewriting": re.compile(
        _NAMES.format("expand|factor|simplify|solve|Subs|Eq|together|apart|collect|cancel|eval|doit|solveset")
    ),
}
_OF_NUMBERS = {
    "sine": re.compile(r"\\(?:sin|cos|tan|sec|csc|cot|arcsin|arccos|arctan)h?(?![A-Za-z])"),
    "logarithm": re.compile(r"\\(?:log|ln|lg)(?![A-Za-z])"),
    "factorial": re.compile(r"!|\\binom"),
    "rounding": re.compile(r"\\[lr](?:floor|ceil)"),
    "size": re.compile(r"^\|.*\|$"),
}
_COMMANDS = re.compile(r"\\[A-Za-z]+|(?<![A-Za-z])e(?![A-Za-z])")


def is_echo(answer: str, reference: str) -> bool:
    """Both canonical, both one item. Whether the answer leaves the work to the reader."""
    answer = answer.rsplit("=", 1)[-1].strip() if "=" not in reference else answer
    if answer == reference:
        return False
    if is_literal(reference):
        return not is_literal(answer) and not is_words(answer)
    if any(kind.search(answer) and not kind.search(reference) for kind in _ASKED.values()):
        return True
    if re.search(r"[A-Za-z]", _COMMANDS.sub("", answer)):
        return False
    return any(kind.search(answer) and not kind.search(reference) for kind in _OF_NUMBERS.values())

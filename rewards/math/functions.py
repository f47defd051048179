r"""Plain function names as programs write them, in LaTeX: ``exp(5)``, ``abs(x)``, ``log10(2)``. Strings only."""

from __future__ import annotations

import re
from collections.abc import Callable

_MOST = 40  # calls in one text

_INVERSE = re.compile(r"(?<![A-Za-z\\])(?:arc|ar|a)(sin|cos|tan|sec|csc|cot)(h?)(?![a-z])")
_TEX_INVERSE = re.compile(r"\\arc(sin|cos|tan|sec|csc|cot)(h?)(?![A-Za-z])")
_PLAIN = re.compile(r"(?<![\\A-Za-z])((?:sin|cos|tan|sec|csc|cot)h?|log|ln|lg|sqrt|pi|infty)(?![A-Za-z])")
_GREEK = re.compile(
    r"(?<![\\A-Za-z{])(alpha|beta|gamma|delta|epsilon|theta|lambda|mu|sigma|phi|omega|rho|tau|Gamma|Delta|Theta|Lambda|Sigma|Phi|Omega)(?![A-Za-z}])"
)
_INFINITY = re.compile(r"(?<![\\A-Za-z])(?:oo|inf|infinity|Infinity)(?![A-Za-z])")
_CALL = re.compile(
    r"(?<![A-Za-z\\])(exp|abs|Abs|floor|ceil|ceiling|cbrt|sqrt|log10|log2|binomial|binom|comb|nCr|choose"
    r"|C|factorial)\(|\\(sqrt|exp|ceil|floor|abs)(?:\{\}|) ?\("
)
_WRITERS: dict[str, Callable[[list[str]], str | None]] = {
    "exp": lambda a: f"e^{{{a[0]}}}" if len(a) == 1 else None,
    "abs": lambda a: f"|{a[0]}|" if len(a) == 1 else None,
    "floor": lambda a: rf"\lfloor {a[0]}\rfloor " if len(a) == 1 else None,
    "ceil": lambda a: rf"\lceil {a[0]}\rceil " if len(a) == 1 else None,
    "cbrt": lambda a: rf"\sqrt[3]{{{a[0]}}}" if len(a) == 1 else None,
    "sqrt": lambda a: rf"\sqrt{{{a[0]}}}" if len(a) == 1 else None,
    "log10": lambda a: rf"\log_{{10}}({a[0]})" if len(a) == 1 else None,
    "log2": lambda a: rf"\log_{{2}}({a[0]})" if len(a) == 1 else None,
    "binomial": lambda a: rf"\binom{{{a[0]}}}{{{a[1]}}}" if len(a) == 2 else None,
    "factorial": lambda a: f"({a[0]})!" if len(a) == 1 else None,
}
_ALIASES = {
    "Abs": "abs",
    "ceiling": "ceil",
    "binom": "binomial",
    "comb": "binomial",
    "nCr": "binomial",
    "choose": "binomial",
    "C": "binomial",
}


def tex_functions(text: str) -> str:
    """Example: ``2*log10(x) + abs(x-1)`` is ``2*\\log_{10}(x) + |x-1|``."""
    if not re.search(r"[A-Za-z]{2}|C\(", text):
        return text
    text = _TEX_INVERSE.sub(r"\\\1\2^{-1}", _INVERSE.sub(r"\\\1\2^{-1}", text))
    if "(" in text:
        text = _calls(text)
    text = _PLAIN.sub(r"\\\1", _GREEK.sub(r"\\\1 ", text))
    return _INFINITY.sub(r"\\infty", text)


def _calls(text: str) -> str:
    """Innermost last: an argument may hold calls of its own."""
    position = len(text)
    for match in list(_CALL.finditer(text))[: -_MOST - 1 : -1]:
        if match.start() >= position:
            continue
        name = match.group(1) or match.group(2)
        arguments, end = _arguments(text, match.end())
        if arguments is None:
            continue
        written = _WRITERS[_ALIASES.get(name, name)](arguments)
        if written is not None:
            text = text[: match.start()] + written + text[end:]
    return text


def _arguments(text: str, at: int) -> tuple[list[str] | None, int]:
    """What stands between the bracket that was opened before ``at`` and its partner, at commas."""
    depth, start, found = 0, at, []
    for position in range(at, len(text)):
        char = text[position]
        if char in "([{":
            depth += 1
        elif char in ")]}":
            if depth == 0:
                found.append(text[start:position].strip())
                return (found if char == ")" and all(found) else None), position + 1
            depth -= 1
        elif char == "," and depth == 0:
            found.append(text[start:position].strip())
            start = position + 1
    return None, at

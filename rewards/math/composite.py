r"""Answers of several parts: lists, tuples, intervals and their unions, sets, matrices, inequalities, assignments."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rewards.math.arithmetic import evaluate
from rewards.math.notation import canonical

MAX_ITEMS = 64

JOINT = re.compile(
    r"\s*(?:\\text\s*\{\s*,?\s*(?:and|or)\s*\}|(?:,?\s+|(?<=\}))(?:and|or)\s+|\\(?:lor|vee|land|wedge)(?![A-Za-z]))\s*"
)
_TEXT_LIST = re.compile(r"^\\text\{([^{}]*(?:,| and | or )[^{}]*)\}$")
_BUILDER = re.compile(r"^\\\{ ?[a-z](?:\\in ?\\mathbb\{?R\}?)? ?(?:\||:|\\mid) ?(.*)\\\}$")
_MATRIX = re.compile(r"^[(\[]?\\begin\{([pbB]?matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}[)\]]?$", re.DOTALL)
_EXCEPT = re.compile(
    r"^(?:\\text\{ ?)?all real numbers?,? except(?: for)? ?\}? ?(?:[a-z] ?= ?)?(.{1,60})$", re.IGNORECASE
)
_NAME = r"[A-Za-z](?:_\{?[A-Za-z0-9]+\}?)?'?"
_SIGN = r"(<|>|\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\ne(?![A-Za-z]))"
_CHAIN = re.compile(rf"^(.{{1,60}}?) ?{_SIGN} ?({_NAME}) ?{_SIGN} ?(.{{1,60}})$")
_RIGHT = re.compile(rf"^({_NAME}) ?{_SIGN} ?(.{{1,60}})$")
_LEFT = re.compile(rf"^(.{{1,60}}?) ?{_SIGN} ?({_NAME})$")
_MULTIPLE = re.compile(
    rf"^([-+]|[-+]?(?:[0-9.]{{1,12}}|\\frac\{{[0-9]{{1,9}}\}}\{{[0-9]{{1,9}}\}})) ?"
    rf"(?:\\cdot|\*)? ?({_NAME}) ?{_SIGN} ?(.{{1,60}})$"
)
_BOTH = re.compile(r"\s*(?:\\text\s*\{\s*and\s*\}|(?<![A-Za-z\\])and(?![A-Za-z])|\\(?:land|wedge)(?![A-Za-z]))\s*")
_ROW_END = re.compile(r"\\\\(?: ?\[-?[0-9.]{1,5} ?(?:pt|em|ex|mm|cm)\])?")
_UNIT_VECTOR = re.compile(
    r"([-+]?)((?:[0-9.]{1,12}|\\(?:frac|sqrt)\{[^{}]{1,20}\}(?:\{[^{}]{1,20}\})?|\([^()]{1,20}\))?) ?(?:\\cdot ?)?"
    r"(?:\\(?:hat|vec|bar)\{? ?)?\\?([ijk])(?:math)?\}?(?![A-Za-z])"
)
_FLIP = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\ne": r"\ne"}
_ASSIGNED = re.compile(r"^([A-Za-z]) ?= ?([^=]+)$")
_REALS = re.compile(
    r"^(?:\\text\{)?\s*(?:all real numbers?|all reals?|\\mathbb\{R\}|\\mathbb R|\\R|[a-z]\\in ?\\mathbb\{R\})\s*\}?\.?$",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Collection:
    r"""kind: ``list`` (bare, or ``\{\}``; no order), the brackets of a tuple or interval such as ``(]``, ``union``, or
    ``matrix RxC`` with its cells row by row."""

    kind: str
    items: tuple[str, ...]


def parse_collection(text: str) -> Collection | None:
    r"""``1, 2``, ``\{1, 2\}``, ``(1, 2)``, ``[1, 2)``; ``a \pm b`` is two values. None for a single value."""
    matrix = _MATRIX.match(text)
    if matrix is not None:
        return _matrix(matrix.group(2))
    rows = _rows(text)
    if rows is not None:
        return rows
    text = JOINT.sub(", ", _TEXT_LIST.sub(r"\1", text))
    if r"\cup" in text:
        parts = split(text, r"\cup")
        return Collection("union", tuple(parts)) if parts and len(parts) > 1 else None
    for opening, closing, kind in (
        (r"\{", r"\}", "list"),
        ("(", ")", "()"),
        ("(", "]", "(]"),
        ("[", ")", "[)"),
        ("[", "]", "[]"),
    ):
        if text.startswith(opening) and text.endswith(closing):
            items = split(text[len(opening) : -len(closing)])
            if items is not None and (len(items) > 1 or kind == "list"):
                if kind == "list":
                    items = [value for item in items for value in both_signs(item)]
                return Collection(kind, tuple(items))
    items = split(text)
    if items is None:
        return None
    items = [value for item in items for value in both_signs(item)]
    return Collection("list", tuple(items)) if len(items) > 1 else None


def split(text: str, separator: str = "") -> list[str] | None:
    """At commas (or another separator) outside brackets; None where brackets do not pair."""
    depth, start, items = 0, 0, []
    for position, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth < 0:
                return None
        elif depth == 0 and (text.startswith(separator, position) if separator else char in ",;"):
            items.append(text[start:position])
            start = position + (len(separator) or 1)
    if depth and not separator:
        return None
    items.append(text[start:])
    return [canonical(item) for item in items] if len(items) <= MAX_ITEMS + 1 else None


def both_signs(text: str) -> list[str]:
    text = text.replace(r"\mp", r"\pm") if r"\pm" not in text else text
    if text.count(r"\pm") != 1:
        return [text]
    plus = text.replace(r"\pm", "+")
    return [canonical(value) for value in (plus.replace("=+", "=").removeprefix("+"), text.replace(r"\pm", "-"))]


def as_interval(text: str) -> tuple[str, str] | None:
    r"""A solution set written with inequalities, as (variable, interval): ``1 < x \le 3`` is ``("x", "(1,3]")``."""
    if _REALS.match(text):
        return "", r"(-\infty,\infty)"
    text = _EXCEPT.sub(r"x\\ne \1", _BUILDER.sub(r"\1", text))
    both = [_one_interval(canonical(piece)) for piece in _BOTH.split(text)] if _BOTH.search(text) else []
    if len(both) == 2 and both[0] and both[1] and both[0][0] == both[1][0]:
        return _overlap(both[0], both[1][1])
    pieces = re.split(
        r"\s*(?:\\text\s*\{\s*(?:or)\s*\}|(?<![A-Za-z])or(?![A-Za-z])|\\(?:lor|vee)(?![A-Za-z]))\s*", text
    )
    found = [_one_interval(canonical(piece)) for piece in pieces]
    if any(part is None for part in found) or len(found) > MAX_ITEMS:
        return None
    names = {part[0] for part in found if part}
    return (names.pop(), r"\cup".join(part[1] for part in found if part)) if len(names) == 1 else None


def _overlap(first: tuple[str, str], other: str) -> tuple[str, str] | None:
    """``x > 1`` and ``x < 3``: a bound from below and one from above, in either order."""
    name, one = first
    above, below = (one, other) if one.endswith(r"\infty)") else (other, one)
    if not (above.endswith(r",\infty)") and below.startswith(r"(-\infty,")) or r"\cup" in one + other:
        return None
    return name, above.removesuffix(r"\infty)") + below.removeprefix(r"(-\infty,")


def _one_interval(text: str) -> tuple[str, str] | None:
    chain = _CHAIN.match(text)
    if chain is not None:
        low, first, name, second, high = chain.groups()
        if first in (">", r"\ge") and second in (">", r"\ge"):
            low, high, first, second = high, low, _FLIP[second], _FLIP[first]
        if first not in ("<", r"\le") or second not in ("<", r"\le"):
            return None
        return name, f"{_open(first, low, '([')}{low},{high}{_open(second, high, ')]')}"
    text = _divided(text)
    right, left = _RIGHT.match(text), _LEFT.match(text)
    if right is not None:
        name, sign, bound = right.groups()
    elif left is not None:
        bound, sign, name = left.groups()
        sign = _FLIP[sign]
    else:
        return None
    if re.search(r"[<>=]|\\le|\\ge|,", bound.replace(r"\left", "")):
        return None
    if sign == r"\ne":
        return name, rf"(-\infty,{bound})\cup({bound},\infty)"
    if sign in ("<", r"\le"):
        return name, rf"(-\infty,{bound}{')' if sign == '<' else ']'}"
    return name, rf"{'(' if sign == '>' else '['}{bound},\infty)"


def _divided(text: str) -> str:
    """``-2y > -6`` is ``y < 3``."""
    match = _MULTIPLE.match(text)
    if match is None:
        return text
    factor, name, sign, bound = match.groups()
    try:
        by, value = evaluate(factor + "1" if factor in ("-", "+") else factor), evaluate(bound)
    except (ArithmeticError, ValueError):
        return text
    if by == 0:
        return text
    return f"{name} {sign if by > 0 else _FLIP[sign]} {value / by}"


def _open(sign: str, bound: str, brackets: str) -> str:
    return brackets[0] if sign == "<" or r"\infty" in bound else brackets[1]


def assigned_tuple(text: str) -> str | None:
    """``x=1, y=2`` as ``(1,2)``, by the order of the names; ``x=1, y=2; x=3, y=4`` as ``(1,2),(3,4)``; else None."""
    items = split(JOINT.sub(", ", text))
    if items is None or not 2 <= len(items) <= 16:
        return None
    pairs = [_ASSIGNED.match(item) for item in items]
    if any(pair is None for pair in pairs):
        return None
    names = list(dict.fromkeys(pair.group(1) for pair in pairs if pair))
    size = len(names)
    if size < 2 or len(items) % size:
        return None
    tuples = []
    for start in range(0, len(items), size):
        named = {pair.group(1): pair.group(2) for pair in pairs[start : start + size] if pair}
        if len(named) != size:
            return None
        tuples.append("(" + ",".join(named[name] for name in sorted(named)) + ")")
    return ",".join(tuples)


def _rows(text: str) -> Collection | None:
    """``[[1,2],[3,4]]`` is a matrix."""
    if not (text.startswith("[[") and text.endswith("]]")):
        return None
    rows = [split(row[1:-1]) if row[:1] == "[" and row[-1:] == "]" else None for row in split(text[1:-1]) or []]
    if not rows or any(row is None or len(row) != len(rows[0] or []) for row in rows):
        return None
    cells = tuple(cell for row in rows for cell in row or [])
    return Collection(f"matrix {len(rows)}x{len(rows[0] or [])}", cells) if len(cells) <= MAX_ITEMS else None


def _matrix(body: str) -> Collection | None:
    body = re.sub(r"\\hline", "", body).strip().removesuffix(r"\\")
    if r"\begin" in body:
        return None
    rows = [[canonical(cell) for cell in row.split("&")] for row in _ROW_END.split(body)]
    width = len(rows[0])
    if any(len(row) != width for row in rows) or len(rows) * width > MAX_ITEMS:
        return None
    return Collection(f"matrix {len(rows)}x{width}", tuple(cell for row in rows for cell in row))


def unit_vectors(text: str) -> str | None:
    r"""``3i - 2j + k`` (canonical, also with hats) as ``(3,-2,1)``; None for anything else, and for a single term."""
    text = text.replace(r"\imath", "i").replace(r"\jmath", "j").replace(" ", "")
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        term = _UNIT_VECTOR.match(text, position)
        if term is None or term.group(3) in found or (position and not term.group(1)):
            return None
        found[term.group(3)] = term.group(1).replace("+", "") + (term.group(2) or "1")
        position = term.end()
    if len(found) < 2 or "j" not in found:
        return None
    return "(" + ",".join(found.get(name, "0") for name in ("ijk" if "k" in found else "ij")) + ")"

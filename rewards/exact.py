r"""Exact comparison of answers by our own small parser: numbers, rational arithmetic, words, lists, tuples and sets.

Every verdict is certain or None ("cannot say"). Text is read by a tokenizer and a recursive-descent parser with caps on
length, depth, exponents and size, so a hostile answer costs microseconds and is simply not a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewards.answers import canonical, plain_words

MAX_LENGTH = 400  # characters of a number or an arithmetic expression
_MAX_DEPTH = 20
_MAX_EXPONENT = 1_000
_MAX_BITS = 8_000
_MAX_ITEMS = 64
_ROUNDED_DIGITS = 5  # a decimal with this many significant digits may stand for the value that it rounds

_LITERAL = re.compile(
    r"[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:\\cdot ?10\^(?:[-+]?[0-9]+|\{[-+]?[0-9]+\})|[eE][-+]?[0-9]+)?"
    r"|(?:[0-9]+ ?)?\\frac\{[-+]?[0-9]+\}\{[-+]?[0-9]+\}|(?:[0-9]+ )?[0-9]+/[0-9]+)"
)
_THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_DECIMAL = re.compile(r"[-+]?([0-9]*)\.([0-9]+)")
_MIXED = re.compile(r"(?<![0-9./^{])([0-9]+) ?(?:\\frac\{([0-9]+)\}\{([0-9]+)\}|(?<= )([0-9]+)/([0-9]+))")
_TOKEN = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|(\\frac|\\cdot|\\div|[-+*/^(){}]))")
_UNIT = re.compile(
    r"\s*(?:\\(?:text|textrm|mbox|mathrm|operatorname)\s*\{\s*([A-Za-z][A-Za-z .]*)\}"
    r"|(?<=[0-9} ])([A-Za-z]{2,}(?: [A-Za-z]+){0,2}))(?:\^\{?([0-9])\}?)?$"
)
_CURRENCY = re.compile(r"^([-+]?)(?:\\?\$|€|£)\s*")
_ASSIGNMENT = re.compile(r"^([A-Za-z](?:_\{?[A-Za-z0-9]\}?)?(?:\([a-z]\))?) ?(?:=|\\in(?![A-Za-z])) ?(.*)$", re.DOTALL)
_CHOICE = re.compile(r"^\(?([A-Z])(?:[).:]|$)")
_JOINT = re.compile(r"\s*(?:\\text\s*\{\s*,?\s*(?:and|or)\s*\}|,?\s+(?:and|or)\s+)\s*")
_UNITS = {
    "dollars": "dollar", "degrees": "degree", "deg": "degree", "centimeter": "cm", "meter": "m", "kilometer": "km",
    "inch": "in", "inches": "in", "feet": "ft", "foot": "ft", "hour": "h", "minute": "min", "second": "s", "sec": "s",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value with how it was written. places: digits after a decimal point, or None; digits: significant ones."""

    value: Fraction
    places: int | None = None
    digits: int = 0
    percent: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    r"""kind: ``list`` (bare, or ``\{\}``; no order), or the brackets of a tuple or interval, such as ``(]``."""

    kind: str
    items: tuple[str, ...]


def compare(answer: str, reference: str, oracle: Callable[[str, str], bool]) -> bool:
    """Whether two canonical texts mean the same; ``oracle`` is asked for single expressions that are not decidable here."""
    if answer == reference:
        return True
    answer, reference = _align_assignments(answer, reference)
    if answer == reference:
        return True
    left, right = parse_collection(answer), parse_collection(reference)
    if left is not None and right is not None:
        return _same_items(left, right, oracle)
    if left is not None or right is not None:
        # one value is never a list of several; unions, matrices and the like are no collections here
        single = reference if left is not None else answer
        return oracle(answer, reference) if not _is_single(single) else False
    verdict = compare_single(answer, reference)
    return oracle(answer, reference) if verdict is None else verdict


def compare_single(answer: str, reference: str) -> bool | None:
    """Numbers, multiple choice and words; None where neither applies."""
    left, right = parse_number(answer), parse_number(reference)
    if left is not None and right is not None:
        return same_number(left, right)
    choice = _CHOICE.match(plain_words(reference).upper()) if re.fullmatch(r"[A-Z(). ]{1,4}", reference) else None
    if choice is not None:
        given = _CHOICE.match(answer) or _CHOICE.match(plain_words(answer).upper())
        return given is not None and given.group(1) == choice.group(1)
    if _is_words(answer) or _is_words(reference):
        return plain_words(answer) == plain_words(reference)
    return None


def is_literal(text: str) -> bool:
    """Whether a canonical text is a written number (with a unit, percent or currency), not an expression to work out."""
    core, _, _ = _strip_marks(text)
    return _LITERAL.fullmatch(core) is not None


def parse_number(text: str) -> Number | None:
    """A number or rational arithmetic on numbers, exactly; None where it is anything else or over the caps."""
    if len(text) > MAX_LENGTH:
        return None
    core, percent, unit = _strip_marks(text)
    try:
        value = _Arithmetic(_MIXED.sub(_write_sum, core)).value()
    except (ArithmeticError, ValueError):
        return None
    decimal = _DECIMAL.fullmatch(core)
    if decimal is None:
        return Number(value, percent=percent, unit=unit)
    digits = len((decimal.group(1) + decimal.group(2)).lstrip("0"))
    return Number(value, len(decimal.group(2)), digits, percent, unit)


def same_number(answer: Number, reference: Number) -> bool:
    """Exact equality; a percent sign may be left out or worked out, a unit left out but not changed.

    A decimal also stands for a value that is no decimal, and a long reference for a longer answer, where it is its
    correct rounding and has at least five significant digits.
    """
    if answer.unit and reference.unit and answer.unit != reference.unit:
        return False
    if answer.percent != reference.percent and answer.value in (reference.value * 100, reference.value / 100):
        worked_out = answer.value * 100 if reference.percent else answer.value / 100
        return worked_out == reference.value
    if answer.value == reference.value:
        return True
    if answer.places is not None and reference.places is None:
        return _rounds(answer, reference.value)
    if reference.places is not None and (answer.places is None or answer.places > reference.places):
        return _rounds(reference, answer.value)
    return False


def parse_collection(text: str) -> Collection | None:
    r"""``1, 2``, ``\{1, 2\}``, ``(1, 2)``, ``[1, 2)``; ``a \pm b`` is two values. None for a single value."""
    text = _JOINT.sub(", ", text)
    for opening, closing, kind in (
        (r"\{", r"\}", "list"),
        ("(", ")", "()"),
        ("(", "]", "(]"),
        ("[", ")", "[)"),
        ("[", "]", "[]"),
    ):
        if text.startswith(opening) and text.endswith(closing):
            items = _split(text[len(opening) : -len(closing)])
            if items is not None and (len(items) > 1 or kind == "list"):
                return Collection(kind, tuple(items))
    items = None if _is_grouped(text) else _split(text)
    if items is None:
        return None
    items = [value for item in items for value in _both_signs(item)]
    return Collection("list", tuple(items)) if len(items) > 1 else None


def _same_items(left: Collection, right: Collection, oracle: Callable[[str, str], bool]) -> bool:
    if left.kind != right.kind or len(left.items) != len(right.items) or len(left.items) > _MAX_ITEMS:
        return False
    if left.kind != "list":
        return all(compare(a, b, oracle) for a, b in zip(left.items, right.items, strict=True))
    unmatched = list(right.items)
    rest = _take_matches(left.items, unmatched, lambda first, second: False)  # certain pairs need no oracle
    return not _take_matches(rest, unmatched, oracle)


def _take_matches(items: Sequence[str], others: list[str], oracle: Callable[[str, str], bool]) -> list[str]:
    """The items that equal none of the others; every other that was matched is taken out."""
    left_over = []
    for item in items:
        match = next((other for other in others if compare(item, other, oracle)), None)
        if match is None:
            left_over.append(item)
        else:
            others.remove(match)
    return left_over


def _split(text: str) -> list[str] | None:
    """At commas outside brackets; None where brackets do not pair, allowing a half-open interval's."""
    depth, start, items = 0, 0, []
    for position, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth < 0:
                return None
        elif char in ",;" and depth == 0:
            items.append(text[start:position])
            start = position + 1
    if depth:
        return None
    items.append(text[start:])
    return [canonical(item) for item in items] if len(items) <= _MAX_ITEMS + 1 else None


def _both_signs(text: str) -> list[str]:
    return [text.replace(r"\pm", sign) for sign in "+-"] if text.count(r"\pm") == 1 else [text]


def _is_single(text: str) -> bool:
    return parse_number(text) is not None or _is_words(text)


def _is_words(text: str) -> bool:
    """Words alone: no digits, no symbols, and no single letter, which would be a variable."""
    words = plain_words(text)
    return bool(re.fullmatch(r"[a-z][a-z' -]*[a-z]", words)) and "\\" not in words


def _align_assignments(answer: str, reference: str) -> tuple[str, str]:
    """``x = 5`` beside ``5`` is 5; ``3 + 4 = 7`` beside ``7`` is 7; two different variables stay different."""
    left, right = _ASSIGNMENT.match(answer), _ASSIGNMENT.match(reference)
    if left and right:
        return (left.group(2), right.group(2)) if left.group(1) == right.group(1) else (answer, reference)
    if left and "=" not in reference:
        return canonical(left.group(2)), reference
    if right and "=" not in answer:
        return answer, canonical(right.group(2))
    if answer.count("=") == 1 and "=" not in reference and parse_number(reference) is not None:
        return canonical(answer.split("=")[1]), reference
    return answer, reference


def _is_grouped(text: str) -> bool:
    """``1,234 apples``: its commas group the digits of one number."""
    return "," not in _strip_marks(text)[0]


def _strip_marks(text: str) -> tuple[str, bool, str]:
    """The bare number, whether it is a percentage, and its unit in one spelling."""
    unit = ""
    if _CURRENCY.match(text):
        text, unit = _CURRENCY.sub(r"\1", text), "dollar"
    percent = text.endswith("%")
    text = text.rstrip("%").rstrip()
    match = _UNIT.search(text) if len(text) <= MAX_LENGTH else None
    if match is not None and re.search(r"[0-9}]\s*$", text[: match.start()]):
        word = " ".join((match.group(1) or match.group(2)).lower().split())
        if word == "percent":
            percent = True
        else:
            word = (
                _UNITS.get(word)
                or _UNITS.get(word.removesuffix("s"))
                or (word.removesuffix("s") if len(word) > 2 else word)
            )
            unit = unit or word + (f"^{match.group(3)}" if match.group(3) else "")
        text = text[: match.start()].rstrip()
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    return text, percent, unit


def _write_sum(match: re.Match[str]) -> str:
    whole, top, bottom, plain_top, plain_bottom = match.groups()
    return f"({whole}+\\frac{{{top or plain_top}}}{{{bottom or plain_bottom}}})"


def _rounds(decimal: Number, value: Fraction) -> bool:
    """Whether the decimal is the value rounded to its places, with enough digits to mean it."""
    if decimal.digits < _ROUNDED_DIGITS or decimal.places is None:
        return False
    return abs(decimal.value - value) * 2 * 10**decimal.places <= 1


class _Arithmetic:
    """Recursive descent over ``+ - * / ^``, fractions and brackets. Raises ValueError or ArithmeticError otherwise."""

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
        base = self._atom()
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

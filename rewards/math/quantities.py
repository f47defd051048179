r"""Numbers as answers write them: with a unit, a currency, a percent sign, a base, words such as ``million``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from rewards.math.arithmetic import MAX_LENGTH, evaluate
from rewards.math.notation import plain_words
from rewards.math.script import ONES, TENS
from rewards.sandbox.values import within

# A decimal with this many significant digits, and this many after the point, may stand for the value that it rounds:
# 0.33333 for 1/3, not 237.04 for 6400/27.
_ROUNDED_DIGITS, _ROUNDED_PLACES = 5, 5

_LITERAL = re.compile(
    r"[-+]{0,2}(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?: ?(?:\\cdot|\*) ?10\^(?:[-+]?[0-9]+|\{[-+]?[0-9]+\})|[eE][-+]?[0-9]+)?"
    r"|10\^(?:[-+]?[0-9]+|\{[-+]?[0-9]+\})|\([-+]?[0-9]+(?:\.[0-9]*)?\)"
    r"|(?:[0-9]+ ?)?\\frac\{[-+]?[0-9]+\}\{[-+]?[0-9]+\}|(?:[0-9]+ )?[0-9]+/[0-9]+)"
)
_BRACKETED = re.compile(r"^([-+]?)\(([^()]*)\)$")  # (-1/2), -(1/2)
_TOP = re.compile(r"^\(([-+]?[0-9]+)\)/")  # (-1)/2
_THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[-+]?[0-9]{1,3}(?: [0-9]{3})+(?:\.[0-9]+)?")
_THOUSANDS_WITHIN = re.compile(r"(?<![0-9,.])([0-9]{1,3}(?:,[0-9]{3})+)(?![0-9,])")
_DECIMAL = re.compile(r"[-+]?([0-9]*)\.([0-9]+)")
_MIXED = re.compile(r"(?<![0-9./^{])([0-9]+) ?(?:\\frac\{([0-9]+)\}\{([0-9]+)\}|(?<= )([0-9]+)/([0-9]+))")
_BASE = re.compile(r"(-?[0-9A-Z]{1,40})_\{?(?:\\text\{ ?)?([0-9]{1,2}|[a-z]{3,8})(?: ?\})?\}?")
_WORD = r"[A-Za-z][A-Za-z.]*"
_UNIT = re.compile(
    r"\s*(?:\\(?:text|textrm|textnormal|mbox|hbox|mathrm|operatorname)\s*"
    rf"\{{\s*({_WORD}(?:[ /^*]{{1,2}}[A-Za-z0-9.]+){{0,5}}\s*)\}}"
    rf"|(?<=[0-9}} ])((?:[A-Za-z][A-Za-z.]+|(?<=[0-9] )[msghLlNJWV](?=/| per |\^|$))(?:(?: |/| per )[A-Za-z.]+){{0,3}}))"
    r"(?:\^\{?([0-9])\}?)?$"
)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_VARIABLE = re.compile(r"[A-Za-z]")
_NO_UNIT = re.compile(
    r"(?:squared|cubed|factorial|doubled|halved|tripled|or|and|to|than|not|at|plus|minus|times|more|less|fewer|if|when|is|are|was|were|isn|aren|because)\b"
)
_CURRENCY = re.compile(r"^([-+]?)(\\?\$|\\(?:pounds|euro)(?![A-Za-z])|€|£|¥|₹|₩|₽|USD|EUR|GBP|Rs\.?)\s*([-+]?)")
_CURRENCY_BEHIND = re.compile(r"(?<=[0-9]) ?(\\?\$|\\(?:pounds|euro)(?![A-Za-z])|€|£|¥|₹|₩|₽|USD|EUR|GBP)$")
_CURRENCIES = {
    "€": "euro",
    r"\euro": "euro",
    "£": "pound",
    r"\pounds": "pound",
    "¥": "yen",
    "EUR": "euro",
    "GBP": "pound",
    "₹": "rupee",
    "₩": "won",
    "₽": "rouble",
    "Rs": "rupee",
    "Rs.": "rupee",
}
_SCALES = {
    "dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
_NUMBER_WORDS = {
    **{word: str(value) for value, word in enumerate(ONES)},
    **{word: str(10 * value) for value, word in enumerate(TENS, 2)},
    **{
        f"{ten}{joint}{one}": str(10 * tens + ones)
        for tens, ten in enumerate(TENS, 2)
        for ones, one in enumerate(ONES[:10])
        for joint in "- "
        if ones
    },
    **dict.fromkeys(("half", "one half", "one-half", "a half"), r"\frac{1}{2}"),
    **dict.fromkeys(("one third", "one-third", "a third"), r"\frac{1}{3}"),
    **dict.fromkeys(("one quarter", "one-quarter", "a quarter", "one fourth", "one-fourth"), r"\frac{1}{4}"),
}
# spelling -> (unit, how many of it one is). Units of one row of _MEASURES below are the same kind.
_SPELLINGS = {
    "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km",
    "millimeter": "mm", "millimetre": "mm", "inch": "in", "inche": "in", "feet": "ft", "foot": "ft", "yard": "yd",
    "mile": "mi", "hour": "h", "hr": "h", "minute": "min", "second": "s", "sec": "s", "gram": "g", "kilogram": "kg",
    "liter": "L", "litre": "L", "l": "L", "ml": "mL", "milliliter": "mL", "millilitre": "mL", "pound": "lb",
    "lbs": "lb", "deg": "degree", "degree": "degree", "dollar": "dollar", "usd": "dollar", "buck": "dollar",
    "sq": "square", "unit": "unit", "rad": "radian", "radian": "radian", "newton": "N", "joule": "J", "watt": "W",
    "volt": "V",
}  # fmt: skip
_MEASURES: dict[str, tuple[str, Fraction]] = {
    **{name: ("length", Fraction(of)) for name, of in {"mm": "1", "cm": "10", "m": "1000", "km": "1000000"}.items()},
    **{name: ("yards", Fraction(of)) for name, of in {"in": 1, "ft": 12, "yd": 36, "mi": 63360}.items()},
    **{
        name: ("time", Fraction(of))
        for name, of in {"s": 1, "min": 60, "h": 3600, "day": 86400, "week": 604800}.items()
    },
    **{name: ("mass", Fraction(of)) for name, of in {"mg": "0.001", "g": "1", "kg": "1000"}.items()},
    **{name: ("volume", Fraction(of)) for name, of in {"mL": 1, "L": 1000}.items()},
    **{name: ("money", Fraction(of)) for name, of in {"cent": "0.01", "dollar": "1"}.items()},
}
_OTHER_UNITS = frozenset("degree radian unit euro pound yen rupee lb N J W V mile/h mi/h km/h m/s".split())


@dataclass(frozen=True, slots=True)
class Rules:
    """How numbers are compared.

    tolerance   largest relative difference that still counts as equal; 0 is exact, but for correctly rounded decimals
    units       ``optional``: may be left out, not changed; ``required``: must be there where the reference has one;
                ``ignored``
    percent     ``either``: 50% may be written 50 or 0.5; ``strict``: it is 1/2, and the sign counts
    worked_out  whether a value must be worked out: see ``rewards.math.echo``
    """

    tolerance: float = 0.0
    units: str = "optional"
    percent: str = "either"
    worked_out: bool = True


EXACT = Rules()


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value with how it was written. places: digits after a decimal point, or None; digits: significant ones."""

    value: Fraction
    places: int | None = None
    digits: int = 0
    percent: bool = False
    unit: str = ""


def is_literal(text: str) -> bool:
    """Whether a canonical text is a written number (with a unit, percent or currency), not an expression to work out."""
    core = strip_marks(_NUMBER_WORDS.get(plain_words(text), text))[0]
    core = core[1:] if core[:1] == "-" and core[1:2].isalpha() else core
    core = _BRACKETED.sub(r"\1\2", _TOP.sub(r"\1/", core))
    return _LITERAL.fullmatch(_NUMBER_WORDS.get(plain_words(core), core)) is not None or in_base_form(text)


def in_base_form(text: str) -> bool:
    """Whether a text is written as digits with a base, ``1011_2``, be they digits of that base or not."""
    return _BASE.fullmatch(text) is not None


def parse_number(text: str) -> Number | None:
    """A number or rational arithmetic on numbers, exactly; None where it is anything else or over the caps."""
    if len(text) > MAX_LENGTH:
        return None
    base = _BASE.fullmatch(text)
    if base is not None:
        name = _NUMBER_WORDS.get(base.group(2), base.group(2))
        return _in_base(base.group(1), int(name)) if name.isdigit() else None
    core, percent, unit = strip_marks(_NUMBER_WORDS.get(plain_words(text), text))
    scale, unit = _scale(unit)
    core = _NUMBER_WORDS.get(plain_words(core), core)
    if core[:1] == "-" and core[1:2].isalpha():
        core = "-" + _NUMBER_WORDS.get(core[1:].lower(), core[1:])
    try:
        value = scale * evaluate(_MIXED.sub(_write_sum, _THOUSANDS_WITHIN.sub(_join, core)))
    except (ArithmeticError, ValueError):
        return None
    decimal = _DECIMAL.fullmatch(core)
    if decimal is None or scale != 1:
        return Number(value, percent=percent, unit=unit)
    digits = len((decimal.group(1) + decimal.group(2)).lstrip("0"))
    return Number(value, len(decimal.group(2)), digits, percent, unit)


def same_number(answer: Number, reference: Number, rules: Rules = EXACT) -> bool:
    """Exact equality; a percent sign may be left out or worked out, a unit left out, or converted but not changed.

    A decimal also stands for a value that is no decimal, and a long reference for a longer answer, where it is its
    correct rounding and has at least five significant digits, and five after the point.
    """
    scale = _conversion(answer.unit, reference.unit, rules)
    if scale is None:
        return False
    if scale != 1:
        return answer.value * scale == reference.value
    if answer.percent != reference.percent:
        if rules.percent == "strict":
            return (answer.value / 100 if answer.percent else answer.value) == (
                reference.value / 100 if reference.percent else reference.value
            )
        worked_out = answer.value * 100 if reference.percent else answer.value / 100
        if worked_out == reference.value:
            return True
    if within(answer.value, reference.value, rules.tolerance):
        return True
    if answer.places is not None and reference.places is None:
        return _rounds(answer, reference.value)
    if reference.places is not None and (answer.places is None or answer.places > reference.places):
        return _rounds(reference, answer.value)
    return False


def strip_marks(text: str) -> tuple[str, bool, str]:
    """The bare number, whether it is a percentage, and its unit in one spelling."""
    unit = ""
    currency = _CURRENCY.match(text)
    if currency is not None:
        unit = _CURRENCIES.get(currency.group(2), "dollar")
        text = _CURRENCY.sub(r"\1\3", text)
    elif (behind := _CURRENCY_BEHIND.search(text)) is not None:
        unit = _CURRENCIES.get(behind.group(1), "dollar")
        text = text[: behind.start()]
    percent = text.endswith("%")
    text = text.rstrip("%").rstrip()
    match = _UNIT.search(text) if len(text) <= MAX_LENGTH else None
    if (
        match is not None
        and re.search(r"[0-9}A-Za-z)]\s*$", text[: match.start()])
        and _has_digits(text, match.start())
    ):
        words = (match.group(1) or match.group(2)).strip()
        if _NO_UNIT.match(words):
            return text.rstrip("\\ "), percent, unit
        if match.group(2) and _are_variables(words, text[match.start() : match.start() + 1] != " "):
            return text.rstrip("\\ "), percent, unit
        if match.group(2) and len(words) == 1 and _VARIABLE.search(_COMMAND.sub(" ", text[: match.start()])):
            return text.rstrip("\\ "), percent, unit  # the h of x^2 h
        text = text[: match.start()].rstrip()
        if words.lower() in ("percent", "per cent", "percentage points"):
            percent = True
        else:
            name = _unit_name(words, match.group(3) or "")
            unit = f"{name} {unit}".strip() if name in _SCALES or not unit else unit
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "").replace(" ", "")
    return text.rstrip("\\ "), percent, unit


def _are_variables(word: str, adhering: bool) -> bool:
    """The ab of ``2ab``: a few letters after a number that are no known unit, and not set off as a word would be."""
    if not word.isalpha() or len(word) > 3 or word in _MEASURES or word in _OTHER_UNITS:
        return False
    known = word.lower() in _SPELLINGS or word.lower().removesuffix("s") in _SPELLINGS or word.lower() in _SCALES
    return not known and (adhering or len(word) < 3 or word in ("abc", "xyz"))


def _has_digits(text: str, end: int) -> bool:
    """A unit follows a number or a formula with one (or pi); words alone are no unit."""
    return bool(re.search(r"[0-9]|\\pi|\\sqrt", text[:end])) or text[:end].strip().lower() in _NUMBER_WORDS


def _unit_name(words: str, power: str) -> str:
    """``square inches`` is ``in^2``, ``miles per hour`` and ``mph`` are ``mi/h``."""
    words = re.sub(r"\s*(?:/| per )\s*", "/", words.replace("^{2}", "^2").lower() if len(words) > 1 else words)
    words = {"mph": "mi/h", "kph": "km/h", "kmh": "km/h"}.get(words.strip("."), words)
    parts = []
    for part in words.split("/"):
        tokens = [token.strip(".") for token in part.replace("^", " ").replace("**", " ").replace(".", " ").split()]
        tokens = [token for token in tokens if token]
        exponent = power
        if tokens and tokens[-1].isdigit():
            exponent = tokens.pop()
        if tokens and tokens[0] in ("square", "sq", "squared", "cubic", "cu"):
            exponent = "3" if tokens[0].startswith("cu") else "2"
            tokens = tokens[1:]
        name = " ".join(_spelling(token) for token in tokens)
        parts.append(name + (f"^{exponent}" if exponent else ""))
    return "/".join(parts)


def _spelling(word: str) -> str:
    if word in _MEASURES:
        return word
    singular = word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word
    return _SPELLINGS.get(word) or _SPELLINGS.get(singular) or singular


def _scale(unit: str) -> tuple[Fraction, str]:
    """``million dollar`` is a million of ``dollar``."""
    first, _, rest = unit.partition(" ")
    if first in _SCALES:
        return Fraction(_SCALES[first]), rest.removeprefix("of ").strip()
    return Fraction(1), unit


def _conversion(given: str, wanted: str, rules: Rules) -> Fraction | None:
    """What the answer's value is multiplied by, or None where the units contradict each other."""
    if rules.units == "ignored" or given == wanted or not wanted:
        return Fraction(1)
    if not given:
        return None if rules.units == "required" else Fraction(1)
    left, right = _dimension(given), _dimension(wanted)
    if left is not None and right is not None:
        return left[1] / right[1] if left[0] == right[0] else None
    if f"{given} ".startswith(f"{wanted} ") or f"{wanted} ".startswith(f"{given} "):
        return Fraction(1)  # degrees of Celsius, and degrees
    (name, power), (other, other_power) = _powered(given), _powered(wanted)
    if "unit" in (name, other):
        return Fraction(1) if power == other_power else None
    shared = set(name.split()) & set(other.split()) - _OTHER_UNITS - set(_MEASURES)
    return Fraction(1) if shared else None


def _dimension(unit: str) -> tuple[tuple[tuple[str, int], ...], Fraction] | None:
    """What ``km/h`` measures, and how many of the base units it is; None where a part of it is no measure."""
    kinds: dict[str, int] = {}
    size, sign = Fraction(1), 1
    for part in unit.split("/"):
        name, power = _powered(part.strip())
        if name not in _MEASURES or power > 9:
            return None
        kind, of = _MEASURES[name]
        kinds[kind] = kinds.get(kind, 0) + sign * power
        size, sign = size * of ** (sign * power), -1
    return tuple(sorted(kinds.items())), size


def _powered(unit: str) -> tuple[str, int]:
    name, _, power = unit.partition("^")
    return name, int(power) if power.isdigit() else 1


def _in_base(digits: str, base: int) -> Number | None:
    """Numbers in bases keep the base as a unit: the digits alone also count, digits of another value do not."""
    try:
        return Number(Fraction(int(digits, base)), unit=f"base {base}") if 2 <= base <= 36 else None
    except ValueError:
        return None


def _join(match: re.Match[str]) -> str:
    return match.group(1).replace(",", "")


def _write_sum(match: re.Match[str]) -> str:
    whole, top, bottom, plain_top, plain_bottom = match.groups()
    return f"({whole}+\\frac{{{top or plain_top}}}{{{bottom or plain_bottom}}})"


def _rounds(decimal: Number, value: Fraction) -> bool:
    """Whether the decimal is the value rounded to its places, with enough digits to mean it."""
    if decimal.digits < _ROUNDED_DIGITS or (decimal.places or 0) < _ROUNDED_PLACES:
        return False
    return abs(decimal.value - value) * 2 * 10 ** (decimal.places or 0) <= 1

r"""A fourth, blind set of kinds for ``math_templates``, written without sight of the verifier or of the other sets.

Endings of language models and of students in chat: markdown, TeX, HTML, JSON, code, tables, other languages and scripts,
corrections, explanations behind the answer, and (``never``) hedges, refusals, denials, bounds and truncated texts. The
templates are the lines of ``math_fourth_kinds.jsonl``; ``change`` there names a function of this file.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.parity.math_kind import Kind, full_width

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_PERSIAN = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
_HINDI = str.maketrans("0123456789", "०१२३४५६७८९")
_BOLD = str.maketrans("0123456789", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗")


def _words(text: str) -> str:
    number = int(text)
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10] + (f"-{_ONES[number % 10]}" if number % 10 else "")
    rest = f" and {_words(str(number % 100))}" if number % 100 else ""
    return f"{_ONES[number // 100]} hundred{rest}"


def _words_and_digits(text: str) -> str:
    return f"{_words(text)} ({text})"


def _arabic(text: str) -> str:
    return text.translate(_ARABIC)


def _persian(text: str) -> str:
    return text.translate(_PERSIAN)


def _hindi(text: str) -> str:
    return text.translate(_HINDI)


def _bold(text: str) -> str:
    return text.translate(_BOLD)


def _letter(text: str) -> str:
    return text.replace("(", "").replace(")", "")


def _small_letter(text: str) -> str:
    return _letter(text).lower()


def _percent_word(text: str) -> str:
    return text.replace("\\%", " percent").replace("%", " percent")


def _joined(text: str) -> str:
    return text.replace(" ", "", 1)


def _long_minus(text: str) -> str:
    return text.replace("-", "−")


def _said_minus(text: str) -> str:
    return text.replace("-", "negative ")


def _sqrt_call(text: str) -> str:
    return re.sub(r"√(\d+)", r"*sqrt(\1)", text)


def _raised_power(text: str) -> str:
    return re.sub(r" x 10\^(\d+)", lambda found: " × 10" + found[1].translate(_RAISED), text)


def _e_power(text: str) -> str:
    return re.sub(r" x 10\^(\d+)", r"e\1", text)


def _small_fraction(text: str) -> str:
    return re.sub(r"^(\d+)/(\d+)$", lambda found: f"{found[1].translate(_RAISED)}⁄{found[2].translate(_LOWERED)}", text)


def _spoken_fraction(text: str) -> str:
    return text.replace("/", " over ")


def _text_fraction(text: str) -> str:
    return text.replace("\\dfrac", "\\tfrac")


def _lower(text: str) -> str:
    return text.lower()


def _upper(text: str) -> str:
    return text.upper()


_CHANGES = {
    "arabic": _arabic,
    "bold": _bold,
    "e_power": _e_power,
    "hindi": _hindi,
    "joined": _joined,
    "letter": _letter,
    "long_minus": _long_minus,
    "lower": _lower,
    "percent_word": _percent_word,
    "persian": _persian,
    "raised_power": _raised_power,
    "said_minus": _said_minus,
    "small_fraction": _small_fraction,
    "small_letter": _small_letter,
    "spoken_fraction": _spoken_fraction,
    "sqrt_call": _sqrt_call,
    "text_fraction": _text_fraction,
    "upper": _upper,
    "words": _words,
    "words_and_digits": _words_and_digits,
    "full_width": full_width,
}


def _kind(name: str, templates: list[str], change: str | None = None, **settings: Any) -> Kind:
    return Kind(name, tuple(templates), change=_CHANGES[change] if change else str, **settings)


FOURTH = tuple(
    _kind(**json.loads(line)) for line in Path(__file__).with_suffix(".jsonl").read_text("utf-8").splitlines()
)

"""What reasoning-gym's verifiers leave open, and what must hold besides before one of them may pay. See docs/gym.md.

A data set that is not named here is paid as its verifier says. Tried with reasoning-gym 0.1.25 by
``python -m benchmarks.parity.gym_verifiers``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from rewards.sandbox.expressions import is_expanded, is_formula, whole_numbers
from rewards.sandbox.values import number_of, within

Entry = Mapping[str, Any]

REFUSED = {
    "composite": "its rows name the data set that they come from, and that one is graded",
    "game_of_life_halting": "its verifier gives full marks to any text, nonsense too",
    "propositional_logic": "its verifier gives full marks to any premise that is copied from the question",
}
FRESH = frozenset(
    ("countdown", "intermediate_integration", "polynomial_multiplication", "puzzle24", "simple_integration")
)
"""Data sets whose answers become expressions of a computer algebra system: the worker ends after each."""

_CLOSE = Fraction(1, 10_000)
_COMPLEX = re.compile(r"[-+0-9.eEijIJ()\s]*")


def admits(name: str, answer: str, entry: Entry) -> bool:
    """Whether the answer has the form that the question asks for. One without it is worth 0 and meets no verifier."""
    return name not in _FORMS or _holds(_FORMS[name], answer, entry)


def confirms(name: str, answer: str, entry: Entry) -> bool:
    """Whether full marks are earned, where a verifier also gives them to what is not the answer."""
    return name not in _EARNED or _holds(_EARNED[name], answer, entry)


def why_held(name: str) -> str:
    """What our own check adds to a verifier; empty where there is none."""
    return _WHY.get(name, "")


def own_answer(entry: Entry) -> str | None:
    """The answer that a row brings: its reference, or the example in its metadata."""
    if entry.get("answer"):
        return str(entry["answer"])
    metadata = entry["metadata"]
    for key in ("possible_answer", "example_correct_answer", "example_answer"):
        if metadata.get(key):
            return metadata[key] if isinstance(metadata[key], str) else json.dumps(metadata[key])
    return None


def _holds(rule: Callable[[str, Entry], bool], answer: str, entry: Entry) -> bool:
    try:
        return rule(answer, entry)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError):
        return False


def _is_integral(answer: str, entry: Entry) -> bool:
    names = (entry["metadata"]["variable"], "C")
    return is_formula(answer, names) and is_formula(entry["metadata"]["integrand"], names)


def _is_polynomial(answer: str, entry: Entry) -> bool:
    return is_expanded(answer, entry["metadata"]["variables"])


def _is_arithmetic(answer: str, entry: Entry) -> bool:
    found = whole_numbers(answer.strip())
    return found is not None and sorted(found[0]) == sorted(map(int, entry["metadata"]["numbers"]))


def _makes_24(answer: str, entry: Entry) -> bool:
    found = whole_numbers(answer.strip())
    return found is not None and found[1] == 24


def _makes_target(answer: str, entry: Entry) -> bool:
    found = whole_numbers(answer.strip())
    return found is not None and found[1] == entry["metadata"]["target"]


def _is_finite_complex(answer: str, entry: Entry) -> bool:
    return _COMPLEX.fullmatch(answer) is not None


def _is_probability(answer: str, entry: Entry) -> bool:
    given, right = _ratio(answer), _ratio(entry["answer"])
    return given is not None and right is not None and abs(given - right) <= _CLOSE and within(given, right, 1e-2)


def _ratio(text: str) -> Fraction | None:
    top, bar, bottom = text.replace(",", "").partition("/")
    numbers = [number_of(top), number_of(bottom if bar else "1")]
    return None if numbers[0] is None or not numbers[1] else numbers[0] / numbers[1]


def _is_same_text(answer: str, entry: Entry) -> bool:
    return answer.strip().casefold() == str(entry["answer"]).strip().casefold()


def _is_same_word(answer: str, entry: Entry) -> bool:
    return answer.replace(" ", "").strip().casefold() == str(entry["answer"]).strip().casefold()


def _is_same_calendar(answer: str, entry: Entry) -> bool:
    right = number_of(entry["answer"])
    return number_of(answer) == right if right is not None else _is_same_text(answer, entry)


def _is_sorted(answer: str, entry: Entry) -> bool:
    given, right = (json.loads(text.replace("'", '"')) for text in (answer, entry["answer"]))
    numbers = [number_of(str(value)) for value in given]
    return None not in numbers and numbers == [number_of(str(value)) for value in right]


_FORMS: dict[str, Callable[[str, Entry], bool]] = {
    "countdown": _is_arithmetic,
    "intermediate_integration": _is_integral,
    "polynomial_multiplication": _is_polynomial,
    "puzzle24": _is_arithmetic,
    "simple_integration": _is_integral,
}
_EARNED: dict[str, Callable[[str, Entry], bool]] = {
    "calendar_arithmetic": _is_same_calendar,
    "coin_flip": _is_probability,
    "complex_arithmetic": _is_finite_complex,
    "countdown": _makes_target,
    "figlet_font": _is_same_word,
    "letter_jumble": _is_same_text,
    "number_sorting": _is_sorted,
    "puzzle24": _makes_24,
    "spell_backward": _is_same_text,
}
_WHY = {
    "calendar_arithmetic": "the same number or weekday; its verifier gives any number more than full marks where -1 is right",
    "coin_flip": "the same probability; its verifier gives full marks to 0",
    "complex_arithmetic": "a finite number; its verifier gives full marks to NaN",
    "countdown": "the question's numbers with + - * / and brackets, and the target exactly",
    "figlet_font": "the same word; its verifier gives full marks to ten right letters",
    "intermediate_integration": "a formula of elementary functions; its verifier takes an integral that is not worked out",
    "letter_jumble": "the same text; its verifier gives full marks to a right beginning",
    "number_sorting": "the same numbers; its verifier gives full marks to NaN, and to numbers that are 1 off",
    "polynomial_multiplication": "a sum of monomials; its verifier takes the question, with a call that works it out",
    "puzzle24": "the question's numbers with + - * / and brackets, and 24 exactly; its verifier takes any four numbers",
    "simple_integration": "a formula of elementary functions; its verifier takes an integral that is not worked out",
    "spell_backward": "the same word; its verifier gives full marks to a right beginning",
}

r"""What type an answer is: clock time, ratio, choice, words. Numbers are in ``quantities``, lists and intervals in ``composite``.

A type is read from the text alone. Both sides are typed before they are compared, and two types that cannot mean the same
are unequal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

from rewards.math.notation import plain_words

_CLOCK = re.compile(r"^([0-9]{1,2})(?::([0-9]{2}))?(?::([0-9]{2}))?(am|pm)?$")
_CLOCK_WORDS = re.compile(r"(?<=[0-9])(?:hours?|hrs?|h|o'clock)$")
_TO = re.compile(r"(?<=[0-9]) ?(?:\\text\{ ?to ?\}|to) ?(?=[0-9])")
_RATIO = re.compile(r"^[0-9]+(?:\.[0-9]+)?(?::[0-9]+(?:\.[0-9]+)?)+$")
_RATIO_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_{}]{0,8}(?::[A-Za-z][A-Za-z0-9_{}]{0,8})+ ?= ?(?=[0-9])")
_CHOICE = re.compile(
    r"(?:(?:OPTION|CHOICE) ?(?=\(|[A-Z](?![A-Z])))?(?:\(([A-Z])\)\.?:?|([A-Z])(?![A-Z0-9'_^])"
    r"(?:[).:]|(?=[\s,;/&()]|$)))[\s,;/&|]*(?:(?:AND|OR)(?![A-Z])\s*)?"
)
_CHOICES = re.compile(r"\(?[A-J]\)?(?:[\s,;/&]*(?:(?:and|or)\s)?[\s,;]*\(?[A-J]\)?){0,9}")
_MARKUP = re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf)\s*\{([^{}]*)\}")
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DATE = re.compile(
    r"^(?:(?:[a-z]{3,6}day,? )?([a-z]{3,9})\.? ([0-9]{1,2})(?:st|nd|rd|th)?|([0-9]{1,2})(?:st|nd|rd|th)? (?:of )?([a-z]{3,9})\.?)"
    r"(?:,? ?([0-9]{4}))?$"
)
_FORMULA = re.compile(r"[\\^_=+*<>]")  # a letter's case counts there
_EQUIVALENT_WORDS = (
    frozenset(
        {"no solution", "no solutions", "no real solution", "no real solutions", r"\emptyset", "empty set", "none"}
    ),
    frozenset({"dne", "does not exist", "undefined"}),
    frozenset({"true", "yes", "correct"}),
    frozenset({"false", "no", "incorrect"}),
    frozenset({"infinitely many", "infinitely many solutions", r"\infty", "infinite", "infinity"}),
)


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day, or a duration such as 2:30. half: ``am``, ``pm`` or nothing."""

    seconds: int
    half: str


def as_clock(text: str) -> Clock | None:
    """``7:00``, ``3:05 PM``, ``4 p.m.``, ``1:00:00``; not ``2:4`` or ``2:60``."""
    if len(text) > 60:
        return None
    match = _CLOCK.match(_CLOCK_WORDS.sub("", plain_words(text).replace(".", "").replace(" ", "").replace("{:}", ":")))
    if match is None or not (match.group(2) or match.group(4)):
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.group(1, 2, 3))
    half = match.group(4) or ""
    if minutes > 59 or seconds > 59 or hours > (12 if half else 24):
        return None
    return Clock(3600 * (hours % 12 + 12 * (half == "pm") if half else hours) + 60 * minutes + seconds, half)


def same_clock(answer: str, reference: str) -> bool | None:
    """None where neither is one. ``3:05`` may leave out the half of the day that ``3:05 PM`` names."""
    answer, reference = _RATIO_NAME.sub("", answer), _RATIO_NAME.sub("", reference)
    given, wanted = as_clock(answer), as_clock(reference)
    if given is None and wanted is None:
        return None
    if given is None or wanted is None:
        return None if "." in answer + reference or not _looks_like_clock(answer, reference) else False
    if given.seconds == wanted.seconds:
        return True
    return bool(wanted.half) and not given.half and (given.seconds + 43_200) == wanted.seconds


def _looks_like_clock(answer: str, reference: str) -> bool:
    """A ratio beside a clock time: only one whose first part is no hour, and that is no 100:00, is surely a ratio."""
    for text in (answer, reference):
        if ":" in text and as_clock(text) is None:
            parts = text.split(":")
            return not (
                parts[0].isdigit() and int(parts[0]) > 24 and all(part.isdigit() and part[0] != "0" for part in parts)
            )
    return False


def same_date(answer: str, reference: str) -> bool | None:
    """``5 March`` and ``March 5th, 2024`` beside ``March 5``: a year may be left out. None where either is no date."""
    given, wanted = _as_date(answer), _as_date(reference)
    if given is None or wanted is None:
        return None
    return given[:2] == wanted[:2] and (given[2] == wanted[2] or "" in (given[2], wanted[2]))


def _as_date(text: str) -> tuple[str, int, str] | None:
    match = _DATE.match(plain_words(text)) if len(text) < 60 else None
    if match is None:
        return None
    month = match.group(1) or match.group(4)
    names = "january february march april may june july august september october november december".split()
    if not (month in _MONTHS or month == "sept" or month in names):
        return None
    return month[:3], int(match.group(2) or match.group(3)), match.group(5) or ""


def same_ratio(answer: str, reference: str) -> bool | None:
    """In lowest terms; ``1:2`` is also one half. None where the reference is no ratio."""
    answer, reference = (_TO.sub(":", _RATIO_NAME.sub("", text)) for text in (answer, reference))
    if not _RATIO.match(reference):
        return same_ratio(reference, answer) if _RATIO.match(answer) and as_clock(answer) is None else None
    right = _lowest(reference)
    if _RATIO.match(answer):
        return _lowest(answer) == right
    fraction = re.fullmatch(r"(?:\\frac\{([0-9]+)\}\{([0-9]+)\}|([0-9]+)/([0-9]+)|([0-9]+(?:\.[0-9]+)?))", answer)
    if fraction is None or len(right) != 2 or right[1] == 0:
        return False if fraction is not None else None
    top, bottom = fraction.group(1) or fraction.group(3), fraction.group(2) or fraction.group(4)
    if bottom is not None and not int(bottom):
        return False
    return (Fraction(fraction.group(5)) if bottom is None else Fraction(int(top), int(bottom))) == Fraction(*right)


def _lowest(text: str) -> tuple[int, ...]:
    values = [Fraction(part) for part in text.split(":")]
    scale = 1
    for value in values:
        scale = scale * value.denominator // gcd(scale, value.denominator)
    whole = [int(value * scale) for value in values]
    divisor = gcd(*whole) or 1
    return tuple(value // divisor for value in whole)


def same_choice(answer: str, reference: str) -> bool | None:
    """``(B)``, ``B. 12`` and ``B is correct`` are B; ``(A) or (B)`` is neither; ``A, B`` and ``A B`` are AB."""
    bare = _MARKUP.sub(r"\1", reference).strip()
    if re.fullmatch(r"\(?[a-e]\)?", bare):  # alone, a small letter may be a variable too
        return True if _letters(_MARKUP.sub(r"\1", answer).strip()) == [bare.strip("()").upper()] else None
    wanted = _letters(bare)
    if not wanted:
        return None
    text = _MARKUP.sub(r" \1 ", answer).strip()
    given = _letters(text)
    if given:
        if len(wanted) > 1 and re.search(r"(?<![A-Za-z])or(?![A-Za-z])", text) and "or" not in reference:
            return False  # A or C beside A, C
        plain = len(wanted) > 1 and text.isalpha() and bare.isalpha()  # AB beside BA
        return text == bare if plain else set(given) == set(wanted)
    if len(wanted) > 1:
        return None
    named = _leading(text if len(text) < 200 else text[:200])
    return named == wanted if named else None


def are_choices(text: str) -> bool:
    """``AB``, ``A, B``, ``(A) and (B)``: several letters and nothing else."""
    return len(text) < 60 and len(_letters(_MARKUP.sub(r" \1 ", text).strip())) > 1


def _letters(text: str) -> list[str]:
    """The letters of a text that has nothing else."""
    if not _CHOICES.fullmatch(text.rstrip(". ")) and not re.fullmatch(r"\(?[A-Z]\)?\.?|(?:[A-J]\. ?){2,9}", text):
        return []
    letters = re.findall(r"[A-Z]", text)
    return letters if len(set(letters)) == len(letters) else []


def _leading(text: str) -> list[str]:
    """The choices that a text begins with, before the words of one."""
    text, found, position = text.upper() if len(text) < 200 else text, [], 0
    while (match := _CHOICE.match(text, position)) is not None and match.end() > position:
        if position and match.group(2) == "A" and re.match(r"\s?[A-Z]{2}", text[match.end() :]):
            break  # an article
        found.append(match.group(1) or match.group(2))
        position = match.end()
    rest = text[position:]
    if (
        len(found) == 1
        and re.match(r"[-+*/^=<>]|\\[A-Z]", rest.strip())
        and not re.match(r"\s*\(?[A-Z]\)|[A-Z]\s*[).:]", text)
    ):
        return []  # a formula that begins with a capital
    return found


def same_words(answer: str, reference: str) -> bool | None:
    """Words alone, in either case; None where both are something else."""
    words, wanted = (_unquoted(plain_words(text)) for text in (answer, reference))
    if _is_product(answer, reference):
        return None
    if words == wanted and re.search(r"[^\W\d_]{2}", words) and not _FORMULA.search(words):
        return True
    if any({words, wanted} <= group for group in _EQUIVALENT_WORDS):
        return True
    if is_words(answer) or is_words(reference):
        return words.replace("-", " ") == wanted.replace("-", " ")
    return None


def _is_product(*texts: str) -> bool:
    """``kT``: letters in a case that no word has."""
    return any(
        len(text) < 4 and text.isalpha() and text not in (text.lower(), text.upper(), text.title()) for text in texts
    )


def _unquoted(words: str) -> str:
    words = re.sub(r"^there (?:is|are) (?=no )|(?<=[ns]) exists?$", "", words.strip("\"'“”` "))
    return re.sub(r"^(?:on |in |at )?(?:the |an? )?(?=[^\W\d_]{2})", "", words)


def is_words(text: str) -> bool:
    """Words alone: no digits, no symbols, and no single letter, which would be a variable."""
    words = plain_words(text)
    if re.fullmatch(r"[a-z]{2}", text) and text not in ("no", "ok", "up"):
        return False  # a product of two variables
    return bool(re.fullmatch(r"[^\W\d_](?:[^\W\d_]|[' -])*[^\W\d_]", words)) and bool(re.search(r"[^\W\d_]{2}", words))

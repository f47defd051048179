"""How a response is written: its length, its repetitions, its script, its tags. Cheap, and best as gates or small weights."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence

from rewards.response import split_response
from rl.errors import RewardError
from rl.types import RewardItem, Score, ScoreStatus

_MAX_TEXT = 200_000  # characters that are looked at
_UNITS = ("words", "characters")
_SCRIPTS = {
    "latin": ("LATIN",), "cyrillic": ("CYRILLIC",), "greek": ("GREEK",), "arabic": ("ARABIC",), "hebrew": ("HEBREW",),
    "han": ("CJK",), "japanese": ("CJK", "HIRAGANA", "KATAKANA"), "korean": ("HANGUL",), "devanagari": ("DEVANAGARI",),
    "thai": ("THAI",),
}  # fmt: skip


class LengthReward:
    """0 up to ``longest - buffer``, then linearly down to -1 at ``longest``: DAPO's soft punishment (arXiv 2503.14476, eq. 13).

    longest, buffer   in ``unit``: words or characters
    shortest          below it the value is -1
    part              ``response`` (all of it) or ``answer`` (what follows the thought)
    """

    name = "length"

    def __init__(
        self, longest: int, buffer: int = 0, shortest: int = 0, unit: str = "words", part: str = "response"
    ) -> None:
        self.check(longest, buffer, shortest, unit, part)
        self.longest, self.buffer, self.shortest, self.unit, self.part = longest, buffer, shortest, unit, part

    @staticmethod
    def check(longest: int, buffer: int = 0, shortest: int = 0, unit: str = "words", part: str = "response") -> None:
        if not 0 <= buffer <= longest or not 0 <= shortest <= longest - buffer:
            raise RewardError(
                f"reward 'length': shortest={shortest}, buffer={buffer}, longest={longest}; allowed: "
                "0 <= shortest <= longest - buffer"
            )
        _one_of("length", "unit", unit, _UNITS)
        _one_of("length", "part", part, ("response", "answer"))

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [Score(self._value(item.text)) for item in items]

    def _value(self, text: str) -> float:
        text = (split_response(text).answer or "") if self.part == "answer" else text
        count = len(text.split()) if self.unit == "words" else len(text)
        if count < self.shortest or count > self.longest:
            return -1.0
        over = count - (self.longest - self.buffer)
        return -over / self.buffer if over > 0 else 0.0


class RepetitionReward:
    """The share of n-grams of words that are not repeated, 0..1: 1 for a text that never repeats, or is shorter than n."""

    name = "repetition"

    def __init__(self, n: int = 4) -> None:
        self.check(n)
        self.n = n

    @staticmethod
    def check(n: int = 4) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise RewardError(f"reward 'repetition': n={n!r}; allowed: a whole number above 0")

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [Score(self._value(item.text[:_MAX_TEXT])) for item in items]

    def _value(self, text: str) -> float:
        words = text.lower().split()
        grams = [tuple(words[start : start + self.n]) for start in range(len(words) - self.n + 1)]
        return len(set(grams)) / len(grams) if grams else 1.0


class LanguageReward:
    """The share of a response's letters that are in a script, 0..1 (language consistency, arXiv 2501.12948, section 2.3.2).

    A script, not a language: it tells Chinese from English, not French from English. Formulas and code between dollar
    signs or backticks do not count; a text without letters is 1.
    """

    name = "language"

    def __init__(self, script: str = "latin") -> None:
        self.check(script)
        self.prefixes = _SCRIPTS[script]

    @staticmethod
    def check(script: str = "latin") -> None:
        _one_of("language", "script", script, tuple(_SCRIPTS))

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [Score(self._value(item.text[:_MAX_TEXT])) for item in items]

    def _value(self, text: str) -> float:
        text = re.sub(r"\$[^$]*\$|`[^`]*`|\\[A-Za-z]+|</?[a-z]+>", " ", text)
        letters = [char for char in text if char.isalpha()]
        inside = sum(unicodedata.name(char, "").startswith(self.prefixes) for char in letters)
        return inside / len(letters) if letters else 1.0


class TagsReward:
    """1.0 where each of ``tags`` is opened and closed once, in this order, none within another, none empty; else 0.0.

    Example: ``TagsReward(["think", "answer"])`` for ``<think>...</think><answer>...</answer>``. ``exact``: nothing but
    blanks outside of them.
    """

    name = "tags"

    def __init__(self, tags: Sequence[str] = ("think", "answer"), exact: bool = True) -> None:
        self.check(tags, exact)
        self.tags, self.exact = tuple(tags), exact

    @staticmethod
    def check(tags: Sequence[str] = ("think", "answer"), exact: bool = True) -> None:
        names = [tag for tag in tags if isinstance(tag, str) and re.fullmatch(r"[A-Za-z_][\w-]*", tag)]
        if isinstance(tags, str) or not names or len(names) != len(tags) or len(set(names)) != len(names):
            raise RewardError(f"reward 'tags': tags={tags!r}; allowed: a list of different names, e.g. [think, answer]")

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [Score(1.0) if self._fits(item.text) else Score(0.0, ScoreStatus.WRONG_FORMAT) for item in items]

    def _fits(self, text: str) -> bool:
        position = 0
        for tag in self.tags:
            opening, closing = f"<{tag}>", f"</{tag}>"
            if text.count(opening) != 1 or text.count(closing) != 1:
                return False
            start, end = text.index(opening), text.index(closing)
            if start < position or end < start or not text[start + len(opening) : end].strip():
                return False
            if self.exact and text[position:start].strip():
                return False
            position = end + len(closing)
        return not (self.exact and text[position:].strip())


def _one_of(reward: str, key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        close = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise RewardError(f"reward {reward!r}: {key}={value!r}; allowed: {', '.join(allowed)}{hint}")

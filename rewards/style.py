"""How a response is written: its length, its repetitions, its script, its tags. Cheap, and best as gates or small weights."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from rewards.response import split_response
from rewards.settings import RewardSettings, setting
from rl.errors import RewardError
from rl.types import RewardItem, Score, ScoreStatus

_MAX_TEXT = 200_000  # characters that are looked at
_SCRIPTS = {
    "latin": ("LATIN",), "cyrillic": ("CYRILLIC",), "greek": ("GREEK",), "arabic": ("ARABIC",), "hebrew": ("HEBREW",),
    "han": ("CJK",), "japanese": ("CJK", "HIRAGANA", "KATAKANA"), "korean": ("HANGUL",), "devanagari": ("DEVANAGARI",),
    "thai": ("THAI",),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LengthSettings(RewardSettings):
    longest: int = setting("from this length on the value is -1")
    buffer: int = setting("over so much below longest the value falls from 0 to -1", 0)
    shortest: int = setting("below this length the value is -1", 0)
    unit: str = setting("what is counted", "words", choices=("words", "characters"))
    part: str = setting("all of it, or what follows the thought", "response", choices=("response", "answer"))

    def check(self) -> None:
        longest, buffer, shortest = self.longest, self.buffer, self.shortest
        if not 0 <= buffer <= longest or not 0 <= shortest <= longest - buffer:
            raise RewardError(
                f"shortest={shortest}, buffer={buffer}, longest={longest}; allowed: 0 <= shortest <= longest - buffer"
            )


class LengthReward:
    """DAPO's soft punishment (arXiv 2503.14476, eq. 13).

    0 up to ``longest - buffer``, then linearly down to -1 at ``longest``; -1 below ``shortest``.
    """

    name = "length"
    largest = 0.0
    reads_reference = False
    Settings = LengthSettings

    def __init__(self, settings: LengthSettings) -> None:
        self.longest, self.buffer, self.shortest = settings.longest, settings.buffer, settings.shortest
        self.unit, self.part = settings.unit, settings.part

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [Score(self._value(item.text)) for item in items]

    def _value(self, text: str) -> float:
        text = (split_response(text).answer or "") if self.part == "answer" else text
        count = len(text.split()) if self.unit == "words" else len(text)
        if count < self.shortest or count > self.longest:
            return -1.0
        over = count - (self.longest - self.buffer)
        return -over / self.buffer if over > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class RepetitionSettings(RewardSettings):
    n: int = setting("words of one n-gram", 4, above=0)


class RepetitionReward:
    """The share of n-grams of words that are not repeated, 0..1: 1 for a text that never repeats, or is shorter than n."""

    name = "repetition"
    largest = 1.0
    reads_reference = False
    Settings = RepetitionSettings

    def __init__(self, settings: RepetitionSettings) -> None:
        self.n = settings.n

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [Score(self._value(item.text[:_MAX_TEXT])) for item in items]

    def _value(self, text: str) -> float:
        words = text.lower().split()
        grams = [tuple(words[start : start + self.n]) for start in range(len(words) - self.n + 1)]
        return len(set(grams)) / len(grams) if grams else 1.0


@dataclass(frozen=True, kw_only=True)
class LanguageSettings(RewardSettings):
    script: str = setting("the script whose letters count", "latin", choices=tuple(_SCRIPTS))


class LanguageReward:
    """The share of a response's letters that are in a script, 0..1 (language consistency, arXiv 2501.12948, section 2.3.2).

    A script, not a language: it tells Chinese from English, not French from English. Formulas and code between dollar
    signs or backticks do not count; a text without letters is 1.
    """

    name = "language"
    largest = 1.0
    reads_reference = False
    Settings = LanguageSettings

    def __init__(self, settings: LanguageSettings) -> None:
        self.prefixes = _SCRIPTS[settings.script]

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [Score(self._value(item.text[:_MAX_TEXT])) for item in items]

    def _value(self, text: str) -> float:
        text = re.sub(r"\$[^$]*\$|`[^`]*`|\\[A-Za-z]+|</?[a-z]+>", " ", text)
        letters = [char for char in text if char.isalpha()]
        inside = sum(unicodedata.name(char, "").startswith(self.prefixes) for char in letters)
        return inside / len(letters) if letters else 1.0


@dataclass(frozen=True, kw_only=True)
class TagsSettings(RewardSettings):
    tags: tuple[str, ...] = setting("the tags' names, in their order", ("think", "answer"))
    exact: bool = setting("allow nothing but blanks outside of them", True)

    def check(self) -> None:
        named = all(re.fullmatch(r"[A-Za-z_][\w-]*", tag) for tag in self.tags)
        if not self.tags or not named or len(set(self.tags)) != len(self.tags):
            raise RewardError(f"tags={list(self.tags)}; allowed: a list of different names, e.g. [think, answer]")


class TagsReward:
    """1.0 where each of ``tags`` is opened and closed once, in this order, none within another, none empty; else 0.0.

    Example: ``tags: [think, answer]`` for ``<think>...</think><answer>...</answer>``.
    """

    name = "tags"
    largest = 1.0
    reads_reference = False
    Settings = TagsSettings

    def __init__(self, settings: TagsSettings) -> None:
        self.tags, self.exact = settings.tags, settings.exact

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

"""Countdown: reach a number with given numbers. An answer is read by a grammar and computed exactly, never evaluated as code.

The rule is TinyZero's and d1's (arXiv 2504.12216): each given number is used exactly once and no other number is, with
``+ - * /`` and brackets. Two things that their evaluation of Python lets pass are no arithmetic here: ``**`` and ``//``. Their
value may be off by 1e-5; here it is exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rewards.base import absent
from rewards.response import final_answer
from rewards.settings import RewardSettings, setting
from rl.errors import RewardError
from rl.types import Prompt, RewardItem, Score, ScoreStatus

_LONGEST, _DEEPEST = 400, 40  # characters, brackets and signs in one another
_TOKEN = re.compile(r"\s*([0-9]{1,30}|[-+*/()])\s*", re.ASCII)
_WHOLE = re.compile(r"\s*([-+]?[0-9]{1,30})(?:\.0+)?\s*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class CountdownSettings(RewardSettings):
    attempt: float = setting("value of an answer that is given and wrong; d1's is 0.1", 0.0)

    def check(self) -> None:
        if not 0 <= self.attempt < 1:
            raise RewardError(f"attempt={self.attempt!r}; allowed: from 0 to below 1")

    @classmethod
    def refuses(cls, prompt: Prompt) -> str:
        found = puzzle_of(prompt)
        return found if isinstance(found, str) else ""


class CountdownReward:
    """1.0 for an expression with the target's value that uses each number of the row once; else 0.0, or ``attempt``.

    The answer is what follows ``</think>``, or what ``<answer>`` holds: the expression alone, without an equals sign. Rows
    whose metadata has no ``numbers`` and ``target`` have no such reward.
    """

    name = "countdown"
    largest = 1.0
    Settings = CountdownSettings

    def __init__(self, settings: CountdownSettings) -> None:
        self.attempt = settings.attempt

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [self._one(item) for item in items]

    def _one(self, item: RewardItem) -> Score:
        puzzle = puzzle_of(item.prompt)
        if puzzle is None or isinstance(puzzle, str):
            return absent(puzzle or "no numbers and target in this row")
        answer = final_answer(item.text)
        if not answer:
            return Score(0.0, ScoreStatus.WRONG_FORMAT, detail="no answer")
        why = problem(answer, *puzzle)
        return Score(self.attempt, detail=why) if why else Score(1.0)


def problem(answer: str, numbers: Sequence[int], target: int) -> str:
    """Why an answer is wrong; empty: it is right. Example: ``problem("2*4-3", [2, 3, 4], 5)``."""
    try:
        value, used = read_expression(answer)
    except ZeroDivisionError:
        return "it divides by zero"
    except ValueError as error:
        return f"not an expression: {error}"
    if sorted(used) != sorted(numbers):
        return f"it uses {sorted(used)} in place of {sorted(numbers)}"
    return (
        "" if value == target else f"its value is {value if value.denominator < 10**6 else float(value)}, not {target}"
    )


def read_expression(text: str) -> tuple[Fraction, list[int]]:
    """Its value, and the numbers in it, in their order. Raises ValueError or ZeroDivisionError."""
    if len(text) > _LONGEST:
        raise ValueError("too long")
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"unexpected {text[at : at + 10]!r}")
        tokens.append(found[1])
        at = found.end()
    return _Expression(tokens).read()


class _Expression:
    """Recursive descent: sums of products of signed numbers and brackets."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at, self.depth = tokens, 0, 0
        self.used: list[int] = []

    def read(self) -> tuple[Fraction, list[int]]:
        value = self._sum()
        if self.at < len(self.tokens):
            raise ValueError(f"unexpected {self.tokens[self.at]!r}")
        return value, self.used

    def _next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def _sum(self) -> Fraction:
        value = self._product()
        while self._next() in ("+", "-"):
            value = value + self._product() if self._take() == "+" else value - self._product()
        return value

    def _product(self) -> Fraction:
        value = self._part()
        while self._next() in ("*", "/"):
            value = value * self._part() if self._take() == "*" else value / self._part()
        return value

    def _part(self) -> Fraction:
        token = self._next()
        if not token or token in "*/)":
            raise ValueError(f"unexpected {token or 'end'!r}")
        self.at += 1
        if token.isdigit():
            self.used.append(int(token))
            return Fraction(int(token))
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError("too deep")
        value = self._part() if token in "+-" else self._sum()
        if token == "(" and (self._next() != ")" or self._take() != ")"):
            raise ValueError("a bracket is not closed")
        self.depth -= 1
        return -value if token == "-" else value


def puzzle_of(prompt: Prompt) -> tuple[list[int], int] | str | None:
    """Numbers and target of a row; what is wrong with them; or None where it has none. verl's layouts have them deeper."""
    places = [prompt.metadata, prompt.ground_truth, prompt.metadata.get("extra_info")]
    known = [place for place in places if isinstance(place, Mapping)]
    numbers = next((place[name] for place in known for name in ("numbers", "nums") if place.get(name)), None)
    if numbers is None:
        return None
    target = next((place["target"] for place in known if place.get("target") is not None), prompt.reference)
    read = [_whole(number) for number in _items(numbers)]
    goal = _whole(target)
    if goal is None or not read or None in read:
        return f"countdown: numbers={str(numbers)[:80]} and target={str(target)[:40]}: expected whole numbers"
    return [number for number in read if number is not None], goal


def _items(numbers: Any) -> list[Any]:
    """Also of a list that is written as a text: ``[1, 2]`` or ``1,2``."""
    if isinstance(numbers, str):
        return numbers.strip().strip("[]()").split(",")
    return list(numbers) if isinstance(numbers, Sequence) else [None]


def _whole(value: Any) -> int | None:
    found = None if isinstance(value, bool) else _WHOLE.fullmatch(str(value))
    return int(found[1]) if found else None

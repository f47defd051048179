"""Correctness (arXiv 2505.15809, section 2.3.2): 1 where the answer after ``</think>`` is the reference's, else 0.

The paper's 2.0 is its weight in the mix. A reference that is a grid of digits, such as a sudoku's, must be the same text.
Any other is compared as ``rewards.verify_math`` does. Of a list of texts, any is right: ``rewards.math.references`` has the
forms.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rewards.base import invalid
from rewards.math.decide import SOURCES, extract_answer
from rewards.math.quantities import Rules
from rewards.math.references import alternatives
from rewards.math.verify import score_answer
from rewards.response import split_response
from rewards.settings import RewardSettings, setting
from rl.errors import RewardError
from rl.types import RewardItem, Score, ScoreStatus

_GRID = re.compile(r"[0-9_.]{12,}")


@dataclass(frozen=True, kw_only=True)
class CorrectnessSettings(RewardSettings):
    compares_reference: ClassVar[bool] = True

    kind: str = setting(
        "how answers are compared; auto: by the reference, exact: the same text in either case",
        "auto",
        choices=("auto", "exact", "math"),
    )
    deadline_s: float = setting("seconds for one comparison", 1.0, above=0)
    extract: tuple[str, ...] = setting("which marks of an answer count; empty: all", (), choices=tuple(SOURCES))
    tolerance: float = setting("largest relative difference of two numbers that are equal, below 1; 0: exact", 0.0)
    units: str = setting("whether a unit must be given", "optional", choices=("optional", "required", "ignored"))
    percent: str = setting("either: 50% is also 50 and 0.5", "either", choices=("either", "strict"))

    def check(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise RewardError(f"tolerance={self.tolerance!r}; allowed: from 0 to below 1")


class CorrectnessReward:
    """1.0 or 0.0; ``wrong_format`` with 0.0 where a thought was never closed or nothing follows it."""

    name = "correctness"
    largest = 1.0
    Settings = CorrectnessSettings

    def __init__(self, settings: CorrectnessSettings) -> None:
        self.kind, self.deadline_s, self.extract = settings.kind, settings.deadline_s, settings.extract
        self.rules = Rules(settings.tolerance, settings.units, settings.percent)

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [self._one(item) for item in items]

    def _one(self, item: RewardItem) -> Score:
        reference = item.prompt.reference
        if reference is None or not reference.strip():
            return invalid(f"row {item.prompt.id}: no reference to compare with")
        answer = split_response(item.text).answer
        if not answer:
            return Score(0.0, ScoreStatus.WRONG_FORMAT, detail="no answer after </think>")
        wanted = _any_of(reference)
        if self.kind == "exact":
            return Score(float(_plain(answer) in map(_plain, wanted)))
        if self.kind == "auto" and all(map(is_exact, wanted)):
            return Score(float(_plain(extract_answer(item.text, self.extract) or "") in map(_plain, wanted)))
        return score_answer(item.text, reference, self.deadline_s, self.rules, self.extract)


def is_exact(reference: str) -> bool:
    """Whether a reference is a grid, which is compared as text: digits with gaps, or a square of n rows of 1 to n."""
    text = reference.strip()
    if _GRID.fullmatch(text) is None:
        return False
    if "_" in text or text.count(".") > 1:
        return True
    side = math.isqrt(len(text))
    return side * side == len(text) and all(char in "123456789"[:side] for char in text)


def _any_of(reference: str) -> list[str]:
    """The texts of which any is right; JSON that names no answer stands for itself."""
    try:
        named = alternatives(reference)
    except ValueError:
        return [reference]
    return named if named == [reference] or all(map(is_exact, named)) else [reference, *named]


def _plain(text: str) -> str:
    """Lower case, blanks collapsed, no full stop at the end."""
    return " ".join(text.lower().split()).rstrip(".")

"""Correctness (arXiv 2505.15809, section 2.3.2): 1 where the answer after ``</think>`` is the reference's, else 0.

The paper's 2.0 is its weight in the mix. A reference that is a grid of digits, such as a sudoku's, must be the same text.
Any other is compared as ``rewards.verify_math`` does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rewards.base import invalid
from rewards.math.decide import SOURCES, extract_answer
from rewards.math.quantities import Rules
from rewards.math.verify import score_answer
from rewards.response import split_response
from rl.errors import RewardError
from rl.types import RewardItem, Score, ScoreStatus

KINDS = ("auto", "exact", "math")
UNITS, PERCENT = ("optional", "required", "ignored"), ("either", "strict")
_GRID = re.compile(r"[0-9_.]{12,}")


class CorrectnessReward:
    """1.0 or 0.0; ``wrong_format`` with 0.0 where a thought was never closed or nothing follows it.

    kind         ``auto`` (by the reference), ``exact`` (the same text, letters of either case), or ``math``
    deadline_s   seconds for one symbolic comparison
    extract      how an answer may be marked, in order of trust: ``boxed``, ``hash`` (####), ``tag`` (<answer>), ``bare``,
                 ``phrase`` ("the answer is"), ``formula``, ``last_number``; empty: all, in this order
    tolerance    largest relative difference of two numbers that still counts as equal; 0: exact
    units        ``optional``, ``required`` or ``ignored``: see ``rewards.math.quantities.Rules``
    percent      ``either``: 50% is also 50 and 0.5; or ``strict``
    """

    name = "correctness"

    def __init__(
        self,
        kind: str = "auto",
        deadline_s: float = 1.0,
        extract: Sequence[str] = (),
        tolerance: float = 0.0,
        units: str = "optional",
        percent: str = "either",
    ) -> None:
        self.check(kind, deadline_s, extract, tolerance, units, percent)
        self.kind, self.deadline_s, self.extract = kind, deadline_s, tuple(extract)
        self.rules = Rules(tolerance, units, percent)

    @staticmethod
    def check(
        kind: str = "auto",
        deadline_s: float = 1.0,
        extract: Sequence[str] = (),
        tolerance: float = 0.0,
        units: str = "optional",
        percent: str = "either",
    ) -> None:
        choices = (("kind", kind, KINDS), ("units", units, UNITS), ("percent", percent, PERCENT))
        for key, value, allowed in (*choices, *(("extract", source, tuple(SOURCES)) for source in extract)):
            if value not in allowed:
                raise RewardError(f"reward 'correctness': {key}={value!r}; allowed: {', '.join(allowed)}")
        if not deadline_s > 0:
            raise RewardError(f"reward 'correctness': deadline_s={deadline_s!r}; allowed: a number above 0")
        if not 0 <= tolerance < 1:
            raise RewardError(f"reward 'correctness': tolerance={tolerance!r}; allowed: from 0 to below 1")

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [self._one(item) for item in items]

    def _one(self, item: RewardItem) -> Score:
        reference = item.prompt.reference
        if reference is None or not reference.strip():
            return invalid(f"row {item.prompt.id}: no reference to compare with")
        answer = split_response(item.text).answer
        if not answer:
            return Score(0.0, ScoreStatus.WRONG_FORMAT, detail="no answer after </think>")
        if self.kind == "exact":
            return Score(float(_plain(answer) == _plain(reference)))
        if self.kind == "auto" and is_exact(reference):
            return Score(float(_plain(extract_answer(item.text, self.extract) or "") == _plain(reference)))
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


def _plain(text: str) -> str:
    """Lower case, blanks collapsed, no full stop at the end."""
    return " ".join(text.lower().split()).rstrip(".")

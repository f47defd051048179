"""What a reward is, and the scores that stand for no value. ``rewards.registry`` finds one by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from rl.types import RewardItem, Score, ScoreStatus


@runtime_checkable
class Reward(Protocol):
    """Scores a batch. Example: ``load_reward("format").score(items)[0].value``."""

    name: str

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        """One Score an item, in order, always as many. It reports failures as statuses; it does not raise."""
        ...


def failed(status: ScoreStatus, detail: str, seconds: float = 0.0) -> Score:
    """A score that is none: its value is NaN, and its status says why."""
    return Score(math.nan, status, seconds=seconds, detail=detail)


def invalid(detail: str) -> Score:
    """A score without a value: the reward cannot judge this row, or the function returned no number."""
    return failed(ScoreStatus.INVALID, detail)


def absent(detail: str = "no such reward for this row") -> Score:
    """For an item that the reward says nothing about (a custom function returned None). Not a failure, and no value."""
    return Score(math.nan, ScoreStatus.OK, detail=detail)


def is_absent(score: Score) -> bool:
    """Whether the reward says nothing about this item, see ``absent``."""
    return score.status is ScoreStatus.OK and math.isnan(score.value)

"""What a health rule is, and when its state changes. It imports nothing heavy: the config's checks read it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from rl.health.history import History
from rl.registry import Takes, part

WINDOW = 10  # steps that a measure looks back
FEW = 3  # values without which it says nothing
_RELEASE = 0.9  # a rule is healthy again this far within its limit, not at it


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule measured, and where: the task or the reward at fault. Example: ``Reading(0.83, "text")``."""

    value: float
    where: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One small pure function of the history, with its limit and its words.

    measure   the history so far -> a reading at its last step; None where it cannot say
    reads     names of the metrics that it needs; ``*`` stands for a task or a reward. It is asked once the first was logged
    limit     sick beyond it; ``health.limits.NAME`` in a config overrides it
    value     what is measured, e.g. ``median KL of 10 steps, in nats a token``
    means     what is wrong where the value is beyond the limit
    do        what helps
    below     sick below the limit, instead of above it
    patience  so many readings in a row change the state, in either direction
    """

    measure: Callable[[History], Reading | None] = field(metadata=part(Takes(1)))
    reads: tuple[str, ...]
    limit: float
    value: str
    means: str
    do: str
    below: bool = False
    patience: int = 3

    def beyond(self, value: float, limit: float) -> bool:
        return value < limit if self.below else value > limit

    def release(self, limit: float) -> float:
        """Where the rule is healthy again: the gap to the limit keeps a value near it from changing the state each step."""
        return limit / _RELEASE if self.below else limit * _RELEASE


@dataclass(frozen=True, slots=True)
class State:
    """Of one rule after some readings.

    reading          the last one
    streak           readings in a row that ask for the other state
    since            readings since it has this state, this one included
    changes          times that the state changed, in all
    sick_steps       readings under which it was sick
    first            step at which it was first sick
    """

    sick: bool = False
    reading: Reading | None = None
    streak: int = 0
    since: int = 0
    changes: int = 0
    readings: int = 0
    sick_steps: int = 0
    first: int | None = None

    def after(self, rule: Rule, limit: float, step: int, reading: Reading) -> State:
        """The next state. Readings that are no number count as none."""
        if math.isnan(reading.value):
            return self
        beyond = rule.beyond(reading.value, rule.release(limit) if self.sick else limit)
        other = beyond != self.sick
        streak = self.streak + 1 if other else 0
        turns = streak >= rule.patience
        sick = self.sick != turns
        return replace(
            self,
            sick=sick,
            reading=reading,
            streak=0 if turns else streak,
            since=1 if turns else self.since + 1,
            changes=self.changes + turns,
            readings=self.readings + 1,
            sick_steps=self.sick_steps + sick,
            first=step if sick and self.first is None else self.first,
        )


def mean_of(name: str, window: int = WINDOW) -> Callable[[History], Reading | None]:
    """A measure: the mean of a metric's last values."""

    def measure(history: History) -> Reading | None:
        values = history.last(name, window)
        return Reading(statistics.fmean(values)) if len(values) >= FEW else None

    return measure


def highest(values: Mapping[str, float]) -> Reading | None:
    """The largest value, with its name as the place; None where there is none."""
    where = max(values, key=values.__getitem__, default=None)
    return None if where is None else Reading(values[where], where)

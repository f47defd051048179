"""Health on the way to a run's trackers: metrics, a tag, and one line where a state changes. It never stops a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from rl.errors import one_line
from rl.health.watch import Change, Watch
from rl.protocols import Tracker
from rl.tracking.trackers import Trackers

EVERY = 10  # steps between points of what does not change
TAG = "health"
_MOST = 6  # lines about one rule in a run

_log = logging.getLogger(__name__)


class HealthTracker(Trackers):
    """Hands everything on, and adds what the rules say.

    watch   with the run's history, where it is resumed
    tell    shows a line to the person in front of the run
    """

    def __init__(self, inner: Tracker, watch: Watch, tell: Callable[[str], None]) -> None:
        super().__init__(inner)
        self._watch, self._tell = watch, tell
        self._tagged: str | None = None
        self._failed = False

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        changes, numbers = self._ask(step, metrics)
        super().log(step, {**metrics, **numbers})
        for change in changes:
            if line := told(self._watch, change):
                self._tell(line)
        if numbers and (text := tag_of(self._watch)) != self._tagged:
            self._tagged = text
            self.tag(TAG, text)

    def _ask(self, step: int, metrics: Mapping[str, float]) -> tuple[list[Change], dict[str, float]]:
        if self._failed:
            return [], {}
        try:
            changes, read = self._watch.log(step, metrics)
            return changes, numbers_of(self._watch, step, read)
        except Exception as error:
            self._failed = True
            _log.warning("health rules are off for this run: %s", one_line(error))
            return [], {}


def numbers_of(watch: Watch, step: int, read: Sequence[str]) -> dict[str, float]:
    """``health/RULE``, 0 healthy and 1 sick, and ``health_value/RULE``: at a rule's first reading, at a change and the reading
    after it, and every tenth step. What stands still between them is no point."""
    numbers: dict[str, float] = {}
    for name in read:
        state = watch.states.get(name)
        if state is None or state.reading is None:
            continue
        if state.since <= 2 or step % EVERY == 0:
            numbers[f"health/{name}"] = float(state.sick)
            numbers[f"health_value/{name}"] = state.reading.value
    return numbers


def tag_of(watch: Watch) -> str:
    """Example: ``healthy``, ``sick: clip_fraction, kl``."""
    sick = sorted(name for name, state in watch.states.items() if state.sick)
    return f"sick: {', '.join(sick)}" if sick else "healthy"


def told(watch: Watch, change: Change) -> str:
    """One line about a change; nothing about a rule that had its lines."""
    if change.often > _MOST or change.rule not in watch.rules:
        return ""
    rule, limit = watch.rules[change.rule], watch.limits[change.rule]
    where = f" ({change.reading.where})" if change.reading.where else ""
    last = "; it changes often, and no more is said of it" if change.often == _MOST else ""
    if not change.sick:
        return f"step {change.step}  health: {change.rule} is healthy again: {change.reading.value:.3g}{last}"
    side = "below" if rule.below else "above"
    return (
        f"step {change.step}  health: {change.rule}{where} is {change.reading.value:.3g}, {side} {limit:g}: {rule.means}; what "
        f"helps: {rule.do}{last}"
    )

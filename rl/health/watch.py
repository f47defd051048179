"""Every rule's state after what was logged so far: a pure function of the run's metrics, so that a resumed run has the same."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rl.config.health import HealthConfig
from rl.errors import one_line
from rl.health import RULES
from rl.health.history import History
from rl.health.rule import Reading, Rule, State
from rl.tracking.metrics_file import Point

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """A rule's state has changed at this step. often: how many times so far, in all."""

    step: int
    rule: str
    sick: bool
    reading: Reading
    often: int


def load_rules(config: HealthConfig) -> dict[str, Rule]:
    """By name, with the config's limits left to ``Watch``. A package's rule that cannot be loaded is told once and left out."""
    rules: dict[str, Rule] = {}
    for name in RULES if config.on else ():
        if name not in config.off:
            try:
                rules[name] = RULES[name]
            except Exception as error:
                _log.warning("%s; it is left out of this run", one_line(error))
    return rules


class Watch:
    """``log`` what a run logs; ``states`` are the rules' then.

    A step that is logged again, by a run that went back to a checkpoint, overrules the earlier one and all after it.
    """

    def __init__(self, rules: Mapping[str, Rule], limits: Mapping[str, float] | None = None) -> None:
        self.rules = dict(rules)
        self.limits = {name: (limits or {}).get(name, rule.limit) for name, rule in self.rules.items()}
        self._points: list[tuple[int, dict[str, float]]] = []
        self._begin()

    @classmethod
    def of(cls, config: HealthConfig, points: Iterable[Point] = ()) -> Watch:
        """With the rules of a config, after a run's points."""
        watch = cls(load_rules(config), config.limits)
        for point in points:
            watch.log(point.step, point.metrics)
        return watch

    def _begin(self) -> None:
        self.states = {name: State() for name in self.rules}
        self._history = History(read for rule in self.rules.values() for read in rule.reads)

    def log(self, step: int, metrics: Mapping[str, float]) -> tuple[list[Change], list[str]]:
        """The states that changed, and the rules that had a reading."""
        kept = self._history.kept(metrics)
        if not kept:
            return [], []
        last, logged = self._points[-1] if self._points else (-1, {})
        if step > last:
            self._points.append((step, dict(kept)))
        elif step == last and not kept.keys() & logged.keys():
            logged.update(kept)
        else:
            kept = self._go_back(step, kept)
        return self._add(step, kept)

    def _go_back(self, step: int, kept: dict[str, float]) -> dict[str, float]:
        """Forget what came after the step; what the step has now."""
        points = [point for point in self._points if point[0] <= step]
        if not points or points[-1][0] < step:
            points.append((step, {}))
        points[-1][1].update(kept)
        self._points = points
        self._begin()
        for earlier, metrics in points[:-1]:
            self._add(earlier, self._history.kept(metrics))
        return self._history.kept(points[-1][1])

    def _add(self, step: int, metrics: Mapping[str, float]) -> tuple[list[Change], list[str]]:
        self._history.add(step, metrics)
        changes: list[Change] = []
        read: list[str] = []
        for name in [name for name, rule in self.rules.items() if self._asks(rule, metrics)]:
            reading = self._reading(name)
            if reading is None:
                continue
            read.append(name)
            before = self.states[name]
            after = self.states[name] = before.after(self.rules[name], self.limits[name], step, reading)
            if after.sick != before.sick:
                changes.append(Change(step, name, after.sick, reading, after.changes))
        return changes, read

    def _asks(self, rule: Rule, metrics: Mapping[str, float]) -> bool:
        trigger = rule.reads[0]
        return trigger in metrics or any(name in metrics for name in self._history.names(trigger).values())

    def _reading(self, name: str) -> Reading | None:
        """A rule that fails is left out from then on: it must not stop a run, nor say the same thing at each step."""
        try:
            return self.rules[name].measure(self._history)
        except Exception as error:
            _log.warning("health rule %s failed and is left out: %s", name, one_line(error))
            del self.rules[name], self.states[name]
            return None


def summarise(watch: Watch) -> dict[str, Any]:
    """What summary.json says of a run's health.

    checked  the rules that had a reading; the others had nothing to read
    sick     {rule: when it was first sick, at how many readings of how many, how often it became sick, whether it is sick at
             the end, and its last reading}, of those that ever were
    """
    states = {name: state for name, state in watch.states.items() if state.reading is not None}
    return {
        "checked": sorted(states),
        "sick": {
            name: {
                "first_step": state.first,
                "sick_readings": state.sick_steps,
                "readings": state.readings,
                "times": (state.changes + 1) // 2,
                "at_end": state.sick,
                "value": state.reading.value if state.reading else None,
                "where": state.reading.where if state.reading else "",
                "limit": watch.limits[name],
            }
            for name, state in sorted(states.items())
            if state.first is not None
        },
    }

"""What a run says of its health on the way: metrics, a tag, one line a change. And that it never stops one."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping

import pytest
from rich.console import Console

from rl.health import RULES
from rl.health.tracker import HealthTracker, numbers_of
from rl.health.watch import Watch
from rl.tracking.live_table import LiveTable
from rl.tracking.trackers import Trackers
from tests.rl.examples import Recorder


class Tagged(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, str]] = []

    def tag(self, name: str, value: str) -> None:
        self.tags.append((name, value))


def start(*rules: str) -> tuple[HealthTracker, Tagged, list[str]]:
    inner, lines = Tagged(), []
    return HealthTracker(inner, Watch({name: RULES[name] for name in rules}), lines.append), inner, lines


def log(tracker: HealthTracker, name: str, values: list[float], first: int = 1) -> None:
    for step, value in enumerate(values, first):
        tracker.log(step, {name: value, "timing_s/step": 1.0})


def test_one_line_one_tag_and_the_metrics_at_each_change() -> None:
    tracker, inner, lines = start("kl", "clip_fraction")
    log(tracker, "actor/kl_loss", [0.1] * 12 + [3.0] * 20 + [0.1] * 30)
    sick, well = lines
    assert sick == (
        "step 19  health: kl is 3, above 1: the policy runs away from the reference: its language and drawings are no longer "
        "those that it began with; what helps: "
        "lower learner.lr, raise learner.algorithm.kl_coef, or go back to an earlier checkpoint"
    )
    assert well.startswith("step 40  health: kl is healthy again: 0.1")
    assert inner.tags == [("health", "healthy"), ("health", "sick: kl"), ("health", "healthy")]
    states = {step: metrics["health/kl"] for step, metrics in inner.logged.items() if "health/kl" in metrics}
    assert states == {3: 0, 4: 0, 10: 0, 19: 1, 20: 1, 30: 1, 40: 0, 41: 0, 50: 0, 60: 0}
    assert inner.logged[20]["health_value/kl"] == 3.0 and inner.logged[20]["actor/kl_loss"] == 3.0
    assert not any("clip_fraction" in name for metrics in inner.logged.values() for name in metrics)


def test_never_a_flood() -> None:
    """A value that is sick for 30 steps and healthy for 30, again and again: six lines, and the last one says so."""
    tracker, _, lines = start("kl")
    log(tracker, "actor/kl_loss", ([3.0] * 30 + [0.1] * 30) * 12)
    assert len(lines) == 6 and lines[-1].endswith("it changes often, and no more is said of it")
    tracker, _, lines = start("kl")
    log(tracker, "actor/kl_loss", [0.0, 3.0] * 300)
    assert len(lines) <= 1


def test_a_resumed_run_repeats_no_line() -> None:
    values = [3.0] * 20
    _, inner, lines = start("kl")
    watch = Watch({"kl": RULES["kl"]})
    for step, value in enumerate(values, 1):
        watch.log(step, {"actor/kl_loss": value})
    tracker = HealthTracker(inner, watch, lines.append)
    log(tracker, "actor/kl_loss", [3.0] * 10, first=15)  # from its checkpoint of step 14
    assert lines == [] and inner.tags == [("health", "sick: kl")]


def test_a_failing_watch_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    tracker, inner, lines = start("kl")

    def broken(step: int, metrics: Mapping[str, float]) -> None:
        raise RuntimeError("no more memory")

    tracker._watch.log = broken  # pyright: ignore[reportAttributeAccessIssue]
    with caplog.at_level(logging.WARNING):
        log(tracker, "actor/kl_loss", [3.0] * 9)
    tracker.close("FINISHED")
    assert caplog.messages == ["health rules are off for this run: RuntimeError: no more memory"]
    assert len(inner.logged) == 9 and inner.ended == ["FINISHED"] and not lines


def test_everything_else_is_handed_on() -> None:
    tracker, inner, _ = start("kl")
    tracker.samples(3, [], "val")
    tracker.phase("training")
    tracker.tag("node", "a")
    assert inner.shown == [(3, "val")] and inner.tags == [("node", "a")]


def test_the_line_stands_above_the_table_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    table = LiveTable(40, console=Console(file=stream, width=80))
    tracker = Trackers(HealthTracker(Trackers(table), Watch({"kl": RULES["kl"]}), table.note))
    with caplog.at_level(logging.INFO):
        for step in range(1, 9):
            tracker.log(step, {"actor/kl_loss": 3.0})
    (line,) = [line for line in stream.getvalue().splitlines() if "health" in line]
    assert line in caplog.messages and line.startswith("step 5  health: kl is 3, above 1: ")


def test_the_numbers_of_a_step_are_few() -> None:
    watch = Watch({name: RULES[name] for name in RULES})
    for step in range(1, 100):
        _, read = watch.log(step, {"actor/kl_loss": 0.1, "staleness/mean": 0.0})
        assert len(numbers_of(watch, step, read)) == (4 if step in (3, 4) or step % 10 == 0 else 0)

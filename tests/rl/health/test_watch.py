"""States are a pure function of the metrics: however they came, and over a resumed run."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from rl.config.health import HealthConfig
from rl.health import RULES
from rl.health.history import History
from rl.health.rule import Reading, Rule
from rl.health.watch import Watch, load_rules, summarise
from rl.tracking.metrics_file import read_metrics
from rl.tracking.trackers import JsonlTracker

CONFIG = HealthConfig()


def run_of(step: int) -> dict[str, float]:
    """KL that runs away from step 10 on, a clip fraction that swings, one skipped update."""
    return {
        "actor/kl_loss": 0.1 if step < 10 else 0.2 * step,
        "actor/pg_clipfrac": 0.09 + 0.02 * (step % 2),
        "actor/skipped_updates": float(step == 7),
        "actor/grad_norm": 1.0 + 0.3 * (step % 5),
        "rewards/text/mean": 1.0 + 0.1 * step,
        "timing_s/step": 1.0,
    }


def held_out(step: int) -> dict[str, float]:
    return {"val/text/score": 0.6 - 0.02 * step, "val/text/score_ci95": 0.05, "val/text/n": 100.0}


def log_all(watch: Watch, steps: range) -> None:
    """As the loop does: a step's numbers, then the save's, then the evaluation's."""
    for step in steps:
        watch.log(step, run_of(step))
        watch.log(step, {"timing_s/save_checkpoint": 0.1})
        if step % 8 == 0:
            watch.log(step, held_out(step))


def whole(last: int = 24) -> Watch:
    watch = Watch.of(CONFIG)
    log_all(watch, range(1, last + 1))
    return watch


def test_a_step_told_at_once_or_in_parts_is_the_same() -> None:
    at_once = Watch.of(CONFIG)
    for step in range(1, 25):
        at_once.log(step, {**run_of(step), **(held_out(step) if step % 8 == 0 else {})})
    assert at_once.states == whole().states
    assert whole().states["kl"].sick and whole().states["hacking"].sick


def test_a_resumed_run_has_the_states_of_one_that_was_not_stopped(tmp_path: Path) -> None:
    """Killed at step 19 with a checkpoint of 14; a torn line at the end. The file is the history."""
    tracker = JsonlTracker(tmp_path)
    for step in range(1, 20):
        tracker.log(step, run_of(step))
        if step % 8 == 0:
            tracker.log(step, held_out(step))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "actor/kl')
    tracker = JsonlTracker(tmp_path, keep_until=float("inf"))
    resumed = Watch.of(CONFIG, read_metrics(tmp_path))
    for step in range(15, 25):
        for metrics in [run_of(step), *([held_out(step)] if step % 8 == 0 else [])]:
            tracker.log(step, metrics)
            resumed.log(step, metrics)
    assert resumed.states == whole().states == Watch.of(CONFIG, read_metrics(tmp_path)).states
    assert json.dumps(summarise(resumed)) == json.dumps(summarise(whole()))


def test_a_run_that_goes_back_forgets_what_came_after() -> None:
    """A lost learner: steps 6 to 20 were sick, and are not when they are made again."""
    watch, healthy = Watch.of(CONFIG), Watch.of(CONFIG)
    for step in range(1, 21):
        watch.log(step, {**run_of(step), "actor/kl_loss": 9.0 if step > 5 else 0.1})
    assert watch.states["kl"].sick
    for step in range(1, 21):
        metrics = {**run_of(step), "actor/kl_loss": 0.1}
        healthy.log(step, metrics)
        if step > 5:
            watch.log(step, metrics)
    assert watch.states == healthy.states and watch.states["kl"].first is None


def test_metrics_that_no_rule_reads_are_not_kept() -> None:
    watch = Watch.of(CONFIG)
    assert watch.log(1, {"perf/mfu": 0.4, "rewards/text/max": 1.0}) == ([], [])
    assert watch.log(0, {"perf/mfu": 0.4}) == ([], []), "nor is an earlier step a way back"


def test_what_is_off_is_not_asked() -> None:
    assert load_rules(HealthConfig(on=False)) == {}
    rules = load_rules(HealthConfig(off=["kl", "hacking"]))
    assert not {"kl", "hacking"} & rules.keys() and len(rules) == len(RULES) - 2


def test_a_rule_that_fails_is_left_out_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    def broken(history: History) -> Reading | None:
        raise ZeroDivisionError("no steps")

    rules = {"broken": replace(RULES["kl"], measure=broken), "kl": RULES["kl"]}
    watch = Watch(rules)
    with caplog.at_level(logging.WARNING):
        log_all(watch, range(1, 25))
    assert caplog.messages == ["health rule broken failed and is left out: ZeroDivisionError: no steps"]
    assert list(watch.states) == ["kl"] and watch.states["kl"].sick


def test_a_package_whose_rule_cannot_be_loaded_costs_that_rule_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(RULES._targets, "lost", "no_such_module:RULE")
    mine = Rule(lambda history: Reading(history.last("x", 1)[0]), ("x",), 1.0, "x", "m", "d")
    monkeypatch.setitem(RULES._targets, "mine", mine)
    with caplog.at_level(logging.WARNING):
        rules = load_rules(CONFIG)
    assert "lost" not in rules and "no_such_module" in caplog.text
    watch = Watch(rules)
    assert [[change.rule for change in watch.log(step, {"x": 2.0})[0]] for step in range(3)] == [[], [], ["mine"]]


def test_the_summary_counts() -> None:
    watch = Watch({"kl": RULES["kl"], "clip_fraction": RULES["clip_fraction"], "staleness": RULES["staleness"]})
    for step in range(1, 61):
        watch.log(step, {"actor/kl_loss": 3.0 if 10 <= step < 30 else 0.1, "actor/pg_clipfrac": 0.0})
    found: Mapping = summarise(watch)
    assert found["checked"] == ["clip_fraction", "kl"]
    assert list(found["sick"]) == ["kl"]
    kl = found["sick"]["kl"]
    assert (kl["times"], kl["at_end"], kl["limit"], kl["value"]) == (1, False, 1.0, 0.1)
    assert (
        kl["first_step"] == 16
    )  # the median of ten is above the limit from step 14 on, the mean of its middle two; third in a row
    assert kl["readings"] == 58 and 15 <= kl["sick_readings"] <= 25

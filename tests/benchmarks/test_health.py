"""Runs that are made sick on purpose: there is one for each rule, and its settings load. One of them is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults import health
from benchmarks.faults.health import CASES, table
from rl.config import load_config
from rl.health import BUILT_IN


def test_every_rule_has_a_sick_run() -> None:
    assert {rule for case in CASES.values() for rule in case.rules} == set(BUILT_IN)


@pytest.mark.parametrize("name", ["stale", "hacked", "killed"])
def test_the_settings_of_a_case_load(name: str) -> None:
    config = load_config("tiny", [*health._BASE, *health._SICK, *CASES[name].overrides])
    assert config.health.on and not config.health.limits, "with the limits that everybody has"


def test_the_table_says_what_was_missed() -> None:
    fired = {"kl": {"first_step": 5}}
    results = {
        "a": {"what": "too fast", "wanted": ["kl"], "fired": fired, "checked": ["kl", "entropy"]},
        "b": {"what": "broken", "wanted": ["first_ratio"], "fired": {}, "checked": ["first_ratio"]},
    }
    assert table(results).splitlines()[2:] == [
        "| too fast | kl | kl (5) | 1 |",
        "| broken | first_ratio (MISSED) | none | 1 |",
    ]


@pytest.mark.long
def test_a_case_is_run_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = health.run(tmp_path, ["held_out"], seeds=0, steps=1)
    assert list(first["held_out"]["fired"]) == ["wide_interval"] and first["held_out"]["ended"] == "finished"
    log = tmp_path / "held_out" / "metrics.jsonl"
    before = log.read_bytes()
    assert health.run(tmp_path, ["held_out"], seeds=0, steps=1) == first and log.read_bytes() == before
    assert "held_out: wide_interval" in capsys.readouterr().out

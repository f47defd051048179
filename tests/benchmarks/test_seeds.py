"""The table of seeds: what it averages, and that a finished run is not run again."""

import json

import pytest

from benchmarks.learning.seeds import given_steps, run_name, table, train


def summary(before: float, after: float) -> dict:
    return {"steps": 7, "tasks": {"draw": {"before": before, "after": after}}}


def test_a_row_holds_every_seed_and_the_mean_and_spread_of_their_gains():
    rows = table({"full": [summary(0.25, 0.5), summary(0.25, 0.75)]}).splitlines()
    assert rows[-1] == "| full | 7 | draw | 25.0 / 25.0 | 50.0 / 75.0 | +37.5 | 17.7 |"  # gains 25 and 50, sd 17.68


def test_one_seed_has_no_spread():
    assert "| +25.0 | one seed |" in table({"full": [summary(0.25, 0.5)]})


def test_a_finished_run_is_read_and_not_run_again(tmp_path):
    folder = tmp_path / run_name("full", 3)
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps(summary(0.1, 0.2)))
    assert train(tmp_path, "no such recipe", "full", 3, []) == summary(0.1, 0.2)


def test_steps_are_a_name_and_a_number():
    assert given_steps(["random=60", "full=7"]) == {"random": 60, "full": 7}
    with pytest.raises(ValueError):
        given_steps(["random"])

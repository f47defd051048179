"""Small forms of the hostile benchmark: some kinds of hostile program, or all of them, beside as many honest ones."""

import pytest

from benchmarks.faults.sandbox import HOSTILE, run


@pytest.mark.parametrize("count", [10, pytest.param(len(HOSTILE), marks=pytest.mark.long)])
def test_nobody_hostile_is_paid_and_everybody_honest_is(count: int) -> None:
    report = run(count, 4.0 if count == 10 else 2.0)
    assert report["hostile_paid"] == [0, 0, 0], report
    assert report["honest_only_paid"] == report["honest_paid"] == [count] * 3, report
    assert report["canary_files"] == ["canary"] and report["canary_untouched"] and report["bystander_alive"], report
    assert report["folders_left"] == [], report
    for what in ("processes_before_after", "descriptors_before_after"):
        assert report[what][1] <= report[what][0], report

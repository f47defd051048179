"""The timeline by hand: two workers, a learner, and weights that travel beside nothing, then beside sampling."""

from __future__ import annotations

import pytest

from benchmarks.speed.timeline import Event, drawn, exposed_s, report

EVENTS = [
    Event("learner rank 0", "publish", 1, 0.0, 1.0),
    Event("rollout worker 0", "load", 1, 1.0, 2.0),
    Event("rollout worker 0", "sample", 1, 2.0, 4.0),
    Event("rollout worker 1", "load", 1, 1.0, 3.0),
    Event("rollout worker 1", "sample", 1, 3.0, 4.0),
    Event("rollout worker 0", "sample", 1, 4.5, 6.0),
    Event("learner rank 0", "learn", 1, 6.5, 8.5),
    Event("learner rank 0", "publish", 2, 9.0, 9.5),
]


def test_what_is_exposed_by_hand() -> None:
    """Publishing and the first second of loading go on beside nothing; then one samples while the other still loads."""
    moving, working = frozenset(("publish", "load")), frozenset(("sample", "learn"))
    assert exposed_s(EVENTS[:-1], moving, working) == pytest.approx(2.0)
    assert exposed_s(EVENTS[:-1], working, moving) == pytest.approx(4.5)
    found = report(EVENTS, 1)
    assert found == pytest.approx(
        {"step_ms": 9000, "weights_exposed_ms": 2000, "nobody_works_ms": 1500, "gap_between_groups_ms": 500}
    )


def test_a_row_an_actor() -> None:
    lines = drawn(EVENTS, 0.0, 10.0).splitlines()
    assert [line.split("|")[0].strip() for line in lines[:3]] == [
        "learner rank 0",
        "rollout worker 0",
        "rollout worker 1",
    ]
    assert lines[0].split("|")[1][:9] == "p" * 9 and lines[0].split("|")[1][70] == "L"
    assert lines[1].split("|")[1][15] == "w" and lines[1].split("|")[1][25] == "#" and lines[1].split("|")[1][42] == " "
    assert "10.00 s from left to right" in lines[3]

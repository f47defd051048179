"""What becomes of a call whose worker was lost, or that is overdue."""

from __future__ import annotations

import pytest

from cluster.actors.call import ATTEMPTS, Call
from cluster.actors.errors import LostWorkerError
from cluster.actors.retries import AGAIN, UNWANTED, Fate, verdict
from rl.errors import DeadlineError, WorkerError

LOST, LATE = LostWorkerError("squarer 0 was lost"), DeadlineError("no answer from squarer 0 within 4 s")


def call(attempts: int = ATTEMPTS, overdue: int = ATTEMPTS, *, has_instead: bool = False) -> Call:
    instead = (lambda error: str(error)) if has_instead else None
    return Call(7, "squaring 7", lambda actor: None, None, instead, "scored one by one", attempts, overdue)


@pytest.mark.parametrize("error", [LOST, LATE])
@pytest.mark.parametrize("has_instead", [False, True])
@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_a_call_is_tried_as_often_as_it_says(error: WorkerError, has_instead: bool, attempts: int) -> None:
    given = call(attempts, attempts, has_instead=has_instead)
    for attempt in range(1, attempts):
        found = verdict(given, attempt, error)
        assert (found.fate, found.error, found.why) == (Fate.AGAIN, error, AGAIN)
    last = verdict(given, attempts, error)
    assert last.fate is (Fate.INSTEAD if has_instead else Fate.RAISED)
    assert last.why == "scored one by one"
    assert type(last.error) is type(error)
    assert str(last.error) == f"{error} (attempt {attempts} of {attempts})"


def test_a_deadline_has_a_count_of_its_own() -> None:
    given = call(3, 1)
    assert verdict(given, 1, LOST).fate is Fate.AGAIN
    assert verdict(given, 1, LATE).fate is Fate.RAISED
    given = call(1, 3)
    assert verdict(given, 1, LOST).fate is Fate.RAISED
    assert verdict(given, 1, LATE).fate is Fate.AGAIN


@pytest.mark.parametrize("attempt", [1, ATTEMPTS])
def test_a_recalled_call_is_dropped_and_raises_nothing(attempt: int) -> None:
    found = verdict(call(), attempt, LOST, recalled=True)
    assert (found.fate, found.error, found.why) == (Fate.DROPPED, LOST, UNWANTED)

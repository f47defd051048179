"""Ctrl-C while a job is followed: one line of what is left behind, wherever it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from cluster import console
from cluster.jobs import submit
from cluster.jobs.server import HeadLostError, Job, JobServer
from cluster.jobs.submit import Options, Supervisor
from rl.errors import ConfigError, DeadlineError

ADDRESS = "http://head:8265"
CTRL_C, GONE = KeyboardInterrupt(), HeadLostError("the head went away")
RUNS, DONE, LOST = Job("toy-1", "RUNNING"), Job("toy-1", "SUCCEEDED"), Job("toy-1", "LOST", message="forgotten")
ON = f"the job goes on; end it with: unigrpo jobs stop toy-1 --address {ADDRESS}"
ON_2 = ON.replace("toy-1", "toy-2")
LATER = f"if the head comes back, {ON}"
AGAIN = f"job toy-1 was lost, and may have been submitted again: look with unigrpo jobs list --address {ADDRESS}"


class Head:
    """Answers each kind of call with what stands next in its row; an exception is raised."""

    address = ADDRESS

    def __init__(self, **rows: list[Any]) -> None:
        self.rows = {name: iter(row) for name, row in rows.items()}

    def answer(self, call: str) -> Any:
        found = next(cast(Iterator[Any], self.rows[call]))
        if isinstance(found, BaseException):
            raise found
        return found

    def follow(self, job_id: str, write: Callable[[str], object]) -> Job:
        return self.answer("follow")

    def again(self) -> Head:
        return self.answer("again") or self

    def start(self, _: object) -> str:
        return self.answer("start")


WAIT: dict[str, tuple[dict[str, list[Any]], str]] = {
    "at once": ({"follow": [CTRL_C]}, ON),
    "after the head came back": ({"follow": [GONE, CTRL_C], "again": [None], "job": [RUNS]}, ON),
    "after it came back twice": ({"follow": [GONE, GONE, CTRL_C], "again": [None, None], "job": [RUNS, RUNS]}, ON),
    "while the head is away": ({"follow": [GONE], "again": [CTRL_C]}, LATER),
    "after some looks": ({"follow": [GONE], "again": [DeadlineError("no"), ConfigError("odd"), GONE, CTRL_C]}, LATER),
    "while it is asked for the job": ({"follow": [GONE], "again": [None], "job": [CTRL_C]}, LATER),
    "while it is asked again": ({"follow": [GONE], "again": [None, CTRL_C], "job": [GONE]}, LATER),
    "while it is lost a second time": ({"follow": [GONE, GONE], "again": [None, CTRL_C], "job": [RUNS]}, LATER),
    "while the job is submitted again": ({"follow": [LOST], "start": [CTRL_C]}, AGAIN),
    "while that waits for the head": ({"follow": [LOST], "start": [GONE], "again": [CTRL_C]}, AGAIN),
    "lost with the head": ({"follow": [GONE], "again": [None], "job": [LOST], "start": [CTRL_C]}, AGAIN),
    "while the second is followed": ({"follow": [LOST, CTRL_C], "start": ["toy-2"]}, ON_2),
    "while the second's head is away": (
        {"follow": [LOST, GONE], "start": ["toy-2"], "again": [CTRL_C]}, f"if the head comes back, {ON_2}",
    ),
}  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, rows: dict[str, list[Any]]) -> int:
    head = Head(**rows)
    monkeypatch.setattr(submit, "RETRY_S", 0.0)
    monkeypatch.setattr(JobServer, "job", lambda server, job_id: head.answer("job"))
    return Supervisor(cast(JobServer, head), head.start, Options(resubmits=2)).run("toy-1")


@pytest.mark.parametrize("when", WAIT)
def test_one_line_says_what_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    rows, said = WAIT[when]
    assert run(monkeypatch, rows) == console.INTERRUPTED
    told = [
        line for line in capsys.readouterr().err.splitlines() if line and not line.startswith(("warning: ", "job   "))
    ]
    assert told == [said]


def test_without_ctrl_c_nothing_of_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"follow": [GONE, LOST, DONE], "again": [None], "job": [RUNS], "start": ["toy-2"]}
    assert run(monkeypatch, rows) == console.OK
    assert "goes on" not in capsys.readouterr().err

"""An evaluation whose tables and pages a killed process had in memory is known to the next process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rl.tracking.mlflow import run
from rl.tracking.mlflow.spool import IN_HAND, InHand
from rl.tracking.mlflow_tracker import MlflowTracker
from tests.rl.examples import score, text_group

GROUPS = [text_group("a", score(1.0), score(0.0))]


def test_what_was_begun_and_not_done_was_cut_off(tmp_path: Path) -> None:
    first = InHand(tmp_path, keep=True)
    for step in (0, 20, 40):
        first.begin(step)
    first.done(20)
    (tmp_path / IN_HAND / "notes.txt").touch()  # somebody's own
    assert first.cut_off == frozenset() and InHand(tmp_path, keep=True).cut_off == {0, 40}
    again = InHand(tmp_path, keep=True)
    again.begin(40)
    again.done(40)
    assert InHand(tmp_path, keep=True).cut_off == {0}
    assert InHand(tmp_path, keep=False).cut_off == frozenset() == InHand(tmp_path, keep=True).cut_off


def test_nothing_is_left_in_hand_after_the_end(tmp_path: Path) -> None:
    held = InHand(tmp_path, keep=True)
    held.end()  # nothing began
    for step in (1, 2):
        held.begin(step)
    held.done(1)
    held.end()
    assert InHand(tmp_path, keep=True).cut_off == {2}
    held.end(forget=True)
    assert not (tmp_path / IN_HAND).exists()


def test_a_folder_that_takes_nothing_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / IN_HAND).write_text("a file")
    held = InHand(tmp_path, keep=True)
    held.begin(1)
    held.done(1)
    held.end(forget=True)
    assert held.cut_off == frozenset()


@pytest.mark.parametrize("fails", [False, True])
def test_a_tracker_has_an_evaluation_in_hand_until_all_of_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    goes_on, written = threading.Event(), []

    def write(self: run.Run, *events: object) -> None:
        assert goes_on.wait(30)
        if fails:
            raise ValueError("refused")  # for good, before the run was ever reached
        written.extend(events)

    monkeypatch.setattr(run.Run, "write", write)
    tracker = MlflowTracker(tmp_path, name="run", resume=True)
    tracker.samples(4, GROUPS, "val")
    tracker.samples(4, GROUPS, "train")
    killed = MlflowTracker(tmp_path, name="run", resume=True)  # as a process that comes after a kill finds it
    assert killed.cut_off == {4}
    goes_on.set()
    tracker.close("FINISHED")
    assert not (tmp_path / IN_HAND).exists()
    assert bool(written) is not fails

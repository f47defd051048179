"""What waits for the store: in order, over processes, bounded, and numbers never go."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.tracking.mlflow.events import Close, Event, Files, Machine, Metrics, Sheet, Table, Tags, Text, Trace
from rl.tracking.mlflow.spool import FOLDER, Spool

EVENTS: list[Event] = [
    Metrics(1, 5, {"a": 0.5}), Table(1, "train_texts", [{"score": None, "x": "é"}]), Sheet(1, "val", b"\x89PNG\x00"),
    Trace(1, "train", "p/1", {"spans": []}, {"rollout 0": b"png"}), Tags({"k": "v"}), Text("traceback.txt", "no\n"),
    Files(["/a"]), Close("FAILED"),
]  # fmt: skip


def drained(spool: Spool) -> list[Event]:
    found = []
    while events := spool.first():
        found += events
        spool.done(len(events))
    return found


def test_numbers_in_a_row_come_together_and_nothing_else_does(tmp_path: Path) -> None:
    spool = Spool(tmp_path, keep=True)
    numbers: list[Event] = [Metrics(step, 0, {"a": 1.0}) for step in range(5)]
    for event in [*numbers[:4], EVENTS[3], EVENTS[3], numbers[4], Machine(9, {"system/a/b": 1.0}), Close("FINISHED")]:
        spool.add(event)
    sorted((tmp_path / FOLDER).glob("*.json"))[1].write_text("torn")
    sizes = []
    while events := spool.first(3):
        sizes.append([type(event).__name__ for event in events])
        spool.done(len(events))
    assert sizes == [["Metrics"] * 3, ["Trace"], ["Trace"], ["Metrics", "Machine"], ["Close"]]
    assert len(Spool(tmp_path, keep=True)) == 0


def test_events_come_back_in_order_also_in_another_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path, keep=True)
    for event in EVENTS[:4]:
        spool.add(event)
    again = Spool(tmp_path, keep=True)
    for event in EVENTS[4:]:
        again.add(event)
    assert again.end() == "FAILED"
    assert drained(Spool(tmp_path, keep=True)) == EVENTS
    assert not (tmp_path / FOLDER).exists()


def test_a_run_that_starts_over_has_nothing_waiting_and_one_that_goes_on_has_no_end(tmp_path: Path) -> None:
    spool = Spool(tmp_path, keep=True)
    for event in EVENTS:
        spool.add(event)
    spool.forget_ends()
    assert drained(Spool(tmp_path, keep=True)) == EVENTS[:-2]
    Spool(tmp_path, keep=True).add(EVENTS[0])
    assert len(Spool(tmp_path, keep=False)) == 0


def test_pictures_go_first_oldest_first_and_numbers_never(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, keep=True, most_bytes=100_000)
    for step in range(40):
        spool.add(Metrics(step, 0, {"reward": 1.0}))
        spool.add(Trace(step, "train", "p", {}, {}))
        spool.add(Sheet(step, "val", bytes(10_000)))
    left = drained(spool)
    assert [event.step for event in left if isinstance(event, Metrics)] == list(range(40))
    assert len([event for event in left if isinstance(event, Trace)]) == 40
    sheets = [event.step for event in left if isinstance(event, Sheet)]
    assert sheets == list(range(40 - len(sheets), 40)) and 3 < len(sheets) < 8
    assert caplog.text.count("at its limit") == 1


def test_a_file_that_cannot_be_read_costs_no_other(tmp_path: Path) -> None:
    spool = Spool(tmp_path, keep=True)
    for event in EVENTS[:5]:
        spool.add(event)
    for number, content in enumerate(("", "{", '{"kind": "nothing"}')):
        sorted((tmp_path / FOLDER).glob("*.json"))[number].write_text(content)
    assert drained(Spool(tmp_path, keep=True)) == EVENTS[3:5]


def test_a_disk_that_takes_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FOLDER).write_text("a file where the folder must be")
    spool = Spool(tmp_path, keep=True)
    spool.add(EVENTS[0])
    spool.add(EVENTS[0])
    assert len(spool) == 0 and caplog.text.count("takes nothing") == 1

"""Who gets which call, without Ray: in order, one in advance while there are plenty, and each answered once."""

from __future__ import annotations

import itertools
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.actors.call import Call, Worker
from cluster.actors.dispatcher import Dispatcher


@dataclass
class Desk:
    """A dispatcher over workers whose calls are finished by hand. A call's ref is the number of its sending."""

    size: int
    deadline_s: float = 60.0
    sent: list[tuple[str, Any]] = field(default_factory=list)
    prepared: list[tuple[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workers = [Worker(f"worker {index}", index, actor=index) for index in range(self.size)]
        self.idle = deque(self.workers)
        self._refs = itertools.count()
        told = lambda worker: self.sent.append((worker.name, worker.calls[-1].call.key))  # noqa: E731
        self.dispatcher = Dispatcher(self.workers, self.idle, self.deadline_s, self._prepare, told)

    def _prepare(self, worker: Worker, needs: Any) -> str:
        self.prepared.append((worker.name, needs))
        return f"preparing {worker.name}"

    def call(self, key: Any, needs: Any = None) -> Call:
        return Call(key, f"call {key}", lambda actor: next(self._refs), needs)

    @property
    def busy(self) -> bool:
        return bool(self.dispatcher.running or self.dispatcher.waiting)

    def submit(self, *keys: Any) -> None:
        self.dispatcher.submit([self.call(key) for key in keys])

    def finish(self, worker: Worker) -> Any:
        running = worker.calls[0]
        self.dispatcher.done(running)
        return running.call.key


def test_few_calls_are_one_each_and_the_rest_of_the_workers_stay_idle() -> None:
    desk = Desk(3)
    desk.submit("a", "b")
    assert desk.sent == [("worker 0", "a"), ("worker 1", "b")]
    assert [worker.name for worker in desk.idle] == ["worker 2"]
    assert desk.busy and not desk.dispatcher.waiting
    first, second = desk.dispatcher.running.values()
    assert desk.finish(first.worker) == "a" and desk.finish(second.worker) == "b"
    assert [worker.name for worker in desk.idle] == ["worker 2", "worker 0", "worker 1"]  # longest idle first
    assert not desk.busy


def test_each_has_its_next_call_in_advance_only_while_more_wait_than_there_are_workers() -> None:
    for count, in_hand in ((2, [1, 1]), (4, [1, 1]), (5, [2, 1]), (6, [2, 2]), (9, [2, 2])):
        desk = Desk(2)
        desk.submit(*range(count))
        assert [len(worker.calls) for worker in desk.workers] == in_hand
    for waiting, in_hand in ((4, [2, 2]), (3, [2, 2]), (2, [2, 2]), (2, [1, 2]), (1, [1, 2])):
        desk.finish(desk.workers[0])
        assert desk.dispatcher.waiting == waiting
        assert [len(worker.calls) for worker in desk.workers] == in_hand


def test_a_call_in_advance_has_no_deadline_before_the_one_before_it_is_done() -> None:
    desk = Desk(1, deadline_s=0.0)
    desk.submit("a", "b", "c", "d")
    worker = desk.workers[0]
    first, second = worker.calls
    assert desk.dispatcher.overdue() == [first] and second.ends == float("inf")
    desk.finish(worker)
    assert desk.dispatcher.overdue() == [second]


def test_a_worker_is_prepared_for_each_call_that_it_gets() -> None:
    desk = Desk(1)
    desk.dispatcher.submit([desk.call("a", needs=5)])
    assert desk.prepared == [("worker 0", 5)]
    assert desk.workers[0].calls[0].preparing == "preparing worker 0"


def test_what_a_lost_worker_had_in_advance_waits_again_and_was_not_tried() -> None:
    desk = Desk(1)
    desk.submit("a", "b", "c", "d")
    first = desk.dispatcher.take_back(desk.workers[0])
    assert (first.call.key, first.attempt) == ("a", 1)
    assert not desk.dispatcher.running and not desk.workers[0].calls
    desk.dispatcher.again(first)
    assert [(call.key, attempt) for call, attempt in desk.dispatcher._queue] == [("a", 2), ("b", 1), ("c", 1), ("d", 1)]


def test_recalled_calls_are_left_to_end_and_come_back_to_no_queue() -> None:
    desk = Desk(1)
    desk.submit("a", "b", "c", "d")
    assert [call.key for call in desk.dispatcher.recall()] == ["a", "b", "c", "d"]
    assert desk.dispatcher.recall() == []
    assert all(running.recalled for running in desk.dispatcher.running.values())
    assert desk.dispatcher.take_back(desk.workers[0]).recalled
    assert not desk.busy  # b, which was behind it, is wanted no more either


def test_after_cancel_all_that_are_ready_are_idle_and_none_twice() -> None:
    desk = Desk(3)
    desk.submit(*range(9))
    desk.workers[1].starting = "its ref"
    desk.dispatcher.cancel()
    assert not desk.busy
    assert list(desk.idle) == [desk.workers[0], desk.workers[2]]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("seed", range(20))
def test_every_call_is_done_once_whatever_ends_first_and_whoever_is_lost(size: int, seed: int) -> None:
    """A lost worker is ready again at once here; its first call is tried again, before all others."""
    chance = random.Random(f"{size} {seed}")
    desk, count = Desk(size), chance.randrange(30)
    desk.submit(*range(count))
    done: list[Any] = []
    while desk.busy:
        assert len(desk.idle) + sum(bool(worker.calls) for worker in desk.workers) == size
        assert not (desk.idle and desk.dispatcher.waiting), "a worker is idle while a call waits"
        worker = chance.choice([each for each in desk.workers if each.calls])
        if chance.random() < 0.8:
            done.append(desk.finish(worker))
            continue
        desk.dispatcher.again(desk.dispatcher.take_back(worker))
        desk.idle.append(worker)
        desk.dispatcher.start()
    assert sorted(done) == list(range(count))

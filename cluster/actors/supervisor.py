"""Starts a pool's workers, watches their heartbeats, and restarts each that is lost."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.actors.call import ATTEMPTS, Worker, WorkerState
from cluster.actors.errors import LostWorkerError
from cluster.actors.heartbeat import Heartbeats, end
from cluster.actors.retries import AGAIN, after
from cluster.actors.waiting import gather, result
from rl.errors import DeadlineError, WorkerError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Deadlines in seconds: of a call, of an actor's start, of a heartbeat. restart_budget: restarts of one pool, at most,
    over the whole run."""

    call_deadline_s: float
    start_deadline_s: float
    heartbeat_s: float
    restart_budget: int


class Supervisor:
    """``create(index)`` starts an actor, which has a heartbeat and a method ``ready`` that loads what it needs.

    workers: all of them, in the order of their indices. idle: those that are ready and have no call, longest first.
    restarts: so far.
    """

    def __init__(self, kind: str, create: Callable[[int], Any], size: int, settings: PoolSettings) -> None:
        self.restarts = 0
        self.heartbeats = Heartbeats(settings.heartbeat_s, settings.start_deadline_s)
        self._kind, self._create, self._settings = kind, create, settings
        self.workers = [Worker(f"{kind} {index}", index, create(index)) for index in range(size)]
        for worker in self.workers:
            self._start(worker)
        self.idle: deque[Worker] = deque()

    @property
    def starting(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.starting is not None]

    def states(self) -> list[WorkerState]:
        """May be called from another thread. Raises RuntimeError where a worker changed meanwhile."""
        now = time.monotonic()
        return [self._state(worker, now) for worker in list(self.workers)]

    def pid(self, worker: Worker) -> int | None:
        """Its process; None before its first heartbeat."""
        beat = self.heartbeats.beat(worker.name)
        return None if beat is None else beat.pid

    def wait_ready(self) -> None:
        """Until every worker is ready; one that is lost meanwhile is started again. Raises what one of them raised,
        WorkerError or DeadlineError."""
        by_name = {worker.name: worker for worker in self.workers}
        starts = Counter(worker.name for worker in self.workers)

        def start_again(name: str, error: LostWorkerError) -> Any:
            starts[name] += 1
            if starts[name] > ATTEMPTS:
                raise after(error, ATTEMPTS, ATTEMPTS) from error
            self.replace(by_name[name], error)
            return by_name[name].starting

        calls = {worker.starting: worker.name for worker in self.workers}
        gather(calls, "starting", self._settings.start_deadline_s, start_again, heartbeats=self.heartbeats)
        for worker in self.workers:
            self._serve(worker)

    def take_started(self, ready: Collection[Any]) -> None:
        """Those that are ready now are idle; one that was lost meanwhile is started again: no call is to blame."""
        for worker in [worker for worker in self.workers if worker.starting in ready]:
            try:
                result(worker.starting, worker.name, "starting")
            except LostWorkerError as error:
                self.replace(worker, error)
                continue
            self._serve(worker)

    def lost(self) -> dict[str, LostWorkerError]:
        """By worker name: whose heartbeat is overdue, or who is dead."""
        return self.heartbeats.lost({worker.name: worker.doing for worker in self.workers})

    def restart_lost(self, starting: Collection[Worker], lost: Mapping[str, LostWorkerError], now: float) -> None:
        """Of the workers that were starting ``now``, by time.monotonic. Raises DeadlineError where one takes too long."""
        for worker in starting:
            if (error := lost.get(worker.name)) is not None:
                self.replace(worker, error)
            elif now - worker.since > self._settings.start_deadline_s:
                raise DeadlineError(f"{worker.name}: did not start within {self._settings.start_deadline_s:g} s")

    def replace(self, worker: Worker, error: WorkerError | DeadlineError, why: str = AGAIN) -> None:
        """A new actor in the old one's place. It loads what it needs at its first call: nothing from before counts.

        why: what becomes of the worker's call, for the log. Raises the error where the budget is spent.
        """
        end(worker.actor, self.heartbeats.beat(worker.name))
        self.heartbeats.forget(worker.name)
        budget = self._settings.restart_budget
        if self.restarts >= budget:
            raise type(error)(f"{error} (all {budget} replacements of {self._kind}s are used up)") from error
        self.restarts += 1
        logger.warning("%s; replaced, %s", error, why)
        worker.actor, worker.has, worker.announced = self._create(worker.index), None, None
        if worker in self.idle:
            self.idle.remove(worker)
        self._start(worker)

    def close(self) -> None:
        for worker in self.workers:
            end(worker.actor, self.heartbeats.beat(worker.name))
        self.heartbeats.clear()
        self.workers.clear()
        self.idle.clear()

    def _start(self, worker: Worker) -> None:
        self.heartbeats.watch(worker.name, worker.actor)
        worker.since = time.monotonic()
        worker.starting = worker.actor.ready.remote()

    def _serve(self, worker: Worker) -> None:
        worker.starting, worker.since = None, time.monotonic()
        self.heartbeats.settled(worker.name)
        self.idle.append(worker)

    def _state(self, worker: Worker, now: float) -> WorkerState:
        first = worker.first
        return WorkerState(
            worker.name,
            worker.doing,
            now - worker.since if worker.since else 0.0,
            0 if first is None else first.attempt,
            worker.has,
            self.heartbeats.beat(worker.name),
            self.heartbeats.age_s(worker.name),
        )

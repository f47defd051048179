"""A supervised pool of actors: one call at a time each, a deadline for every call, and replacement of what dies.

The pool never waits by itself: its owner hands it the refs that are ready, so that one loop can drive several pools.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from cluster.calls import LostWorkerError, gather, kill, result
from rl.errors import DeadlineError, WorkerError

logger = logging.getLogger(__name__)

ATTEMPTS = 3  # of one call: what kills three workers will kill the fourth
RESTART_BUDGET = 16  # of one pool, over the whole run


@dataclass(frozen=True, slots=True)
class Call:
    """key: the owner's own. label: what it is, for messages. send: starts it on an actor and returns its object ref."""

    key: Any
    label: str
    send: Callable[[Any], Any]


@dataclass(slots=True)
class _Worker:
    name: str
    index: int
    actor: Any
    proven: bool = False  # has answered: until then, a call's deadline includes its start


@dataclass(slots=True)
class _Running:
    call: Call
    worker: _Worker
    attempt: int
    ends: float


class ActorPool:
    """``create(index)`` starts an actor; its method ``ready`` loads what it needs. restarts: replacements so far."""

    def __init__(
        self, kind: str, create: Callable[[int], Any], size: int, *, call_deadline_s: float, start_deadline_s: float
    ) -> None:
        self.kind = kind
        self.restarts = 0
        self._create = create
        self._call_deadline_s, self._start_deadline_s = call_deadline_s, start_deadline_s
        self._prepare: Callable[[Any], Any] | None = None
        self._workers = [_Worker(f"{kind} {index}", index, create(index)) for index in range(size)]
        self._starting = {worker.actor.ready.remote(): worker.name for worker in self._workers}
        self._idle = deque(self._workers)
        self._queue: deque[tuple[Call, int]] = deque()
        self._running: dict[Any, _Running] = {}

    @property
    def busy(self) -> bool:
        return bool(self._queue or self._running)

    @property
    def refs(self) -> list[Any]:
        """What to wait for."""
        return list(self._running)

    def seconds_left(self) -> float:
        """Until the first deadline of a running call."""
        return min((running.ends for running in self._running.values()), default=float("inf")) - time.monotonic()

    def wait_ready(self) -> None:
        """Until every actor is ready. Raises what one of them raised, WorkerError or DeadlineError."""
        gather(self._starting, "starting", self._start_deadline_s)
        for worker in self._workers:
            worker.proven = True

    def prepare(self, send: Callable[[Any], Any], what: str) -> None:
        """Run ``send`` on every actor now, and on every replacement before it serves."""
        self._prepare = send
        by_name = {worker.name: worker for worker in self._workers}
        calls = {send(worker.actor): worker.name for worker in self._workers}
        gather(calls, what, self._call_deadline_s, lambda name, error: self._replace(by_name[name], error))

    def submit(self, call: Call) -> None:
        self._queue.append((call, 1))
        self._start_idle()

    def collect(self, ready: Collection[Any]) -> Iterator[tuple[Call, Any]]:
        """Finished calls with their values. Lost and overdue ones run again elsewhere, within the budget.

        Raises WorkerError or DeadlineError where it is spent, and what a worker raised on purpose.
        """
        for ref in [ref for ref in self._running if ref in ready]:
            running = self._running.pop(ref)
            try:
                value = result(ref, running.worker.name, running.call.label)
            except LostWorkerError as error:
                self._retry(running, error)
                continue
            running.worker.proven = True
            self._idle.append(running.worker)
            yield running.call, value
        now = time.monotonic()
        for ref in [ref for ref, running in self._running.items() if running.ends <= now]:
            running = self._running.pop(ref)
            waited = f"no answer from {running.worker.name} within {self._call_deadline_s:g} s"
            self._retry(running, DeadlineError(f"{running.call.label}: {waited}"))
        self._start_idle()

    def close(self) -> None:
        for worker in self._workers:
            kill(worker.actor)
        self._workers.clear()
        self._idle.clear()
        self._running.clear()
        self._queue.clear()

    def _start_idle(self) -> None:
        while self._idle and self._queue:
            worker, (call, attempt) = self._idle.popleft(), self._queue.popleft()
            deadline = self._call_deadline_s + (0.0 if worker.proven else self._start_deadline_s)
            running = _Running(call, worker, attempt, time.monotonic() + deadline)
            self._running[call.send(worker.actor)] = running

    def _retry(self, running: _Running, error: WorkerError | DeadlineError) -> None:
        if running.attempt >= ATTEMPTS:
            raise type(error)(f"{error} (attempt {running.attempt} of {ATTEMPTS})") from error
        self._replace(running.worker, error)
        self._idle.append(running.worker)
        self._queue.appendleft((running.call, running.attempt + 1))

    def _replace(self, worker: _Worker, error: WorkerError | DeadlineError) -> Any:
        """A new actor in the old one's place; the ref of what prepares it. Ray runs an actor's calls in their order, so
        that comes before any other."""
        kill(worker.actor)
        if self.restarts >= RESTART_BUDGET:
            spent = f"all {RESTART_BUDGET} replacements of {self.kind}s are used up"
            raise type(error)(f"{error} ({spent})") from error
        self.restarts += 1
        logger.warning("%s; replaced, and its work is done again with the same seeds", error)
        worker.actor, worker.proven = self._create(worker.index), False
        return worker.actor.ready.remote() if self._prepare is None else self._prepare(worker.actor)

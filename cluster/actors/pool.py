"""A supervised pool of actors: a call at a time and one in advance each, a deadline for every call, signs of life, and
replacement of what dies or shows none.

The pool never waits by itself: its owner hands it the refs that are ready, so that one loop can drive several pools.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from typing import Any

from cluster.actors.call import ATTEMPTS, Call, Running, Worker, WorkerState
from cluster.actors.errors import LostWorkerError, TransferError
from cluster.actors.heartbeat import Pulse, end
from cluster.actors.waiting import gather, result
from rl.errors import DeadlineError, WorkerError

__all__ = ["ATTEMPTS", "ActorPool", "Call", "WorkerState"]

logger = logging.getLogger(__name__)

RESTART_BUDGET = 16  # of one pool, over the whole run, unless it is told otherwise
HEARTBEAT_S = 30.0


class ActorPool:
    """``create(index)`` starts an actor, a ``cluster.actors.heartbeat.Beating``; its method ``ready`` loads what it needs.

    heartbeat_s: for a sign of life. restarts: replacements so far, at most ``restart_budget``. on_send(worker, pid) is
    called whenever a worker was given a call.
    """

    def __init__(
        self,
        kind: str,
        create: Callable[[int], Any],
        size: int,
        *,
        call_deadline_s: float,
        start_deadline_s: float,
        heartbeat_s: float = HEARTBEAT_S,
        restart_budget: int = RESTART_BUDGET,
        on_send: Callable[[str, int | None], None] = lambda worker, pid: None,
    ) -> None:
        self.kind = kind
        self.restarts = 0
        self._create, self._on_send, self._restart_budget = create, on_send, restart_budget
        self._call_deadline_s, self._start_deadline_s = call_deadline_s, start_deadline_s
        self._pulse = Pulse(heartbeat_s, start_deadline_s)
        self._preparations: dict[Any, Callable[[Any], Any]] = {}
        self._workers = [Worker(f"{kind} {index}", index, create(index)) for index in range(size)]
        for worker in self._workers:
            self._start(worker)
        self._idle: deque[Worker] = deque()
        self._queue: deque[tuple[Call, int]] = deque()
        self._running: dict[Any, Running] = {}

    @property
    def busy(self) -> bool:
        return bool(self._queue or self._running)

    @property
    def refs(self) -> list[Any]:
        """What to wait for."""
        return [*self._running, *(worker.starting for worker in self._workers if worker.starting is not None)]

    @property
    def waiting(self) -> int:
        """Calls that no worker has taken yet."""
        return len(self._queue)

    def states(self) -> list[WorkerState]:
        now = time.monotonic()
        running = {run.worker.name: run for run in reversed(list(self._running.values()))}  # the first of two counts
        return [
            WorkerState(
                worker.name,
                _doing(worker),
                now - worker.since if worker.since else 0.0,
                running[worker.name].attempt if worker.name in running else 0,
                worker.has,
                self._pulse.beat(worker.name),
                self._pulse.age_s(worker.name),
            )
            for worker in list(self._workers)
        ]

    def seconds_left(self) -> float:
        """Until the first deadline of a running call, or until signs of life are looked for."""
        ends = [run.ends for run in self._running.values()]
        ends += [worker.since + self._start_deadline_s for worker in self._workers if worker.starting is not None]
        return min(self._pulse.pause_s, min(ends) - time.monotonic()) if ends else float("inf")

    def wait_ready(self) -> None:
        """Until every actor is ready; one that is lost meanwhile is started again. Raises what one of them raised,
        WorkerError or DeadlineError."""
        by_name = {worker.name: worker for worker in self._workers}
        starts = Counter(worker.name for worker in self._workers)

        def start_again(name: str, error: LostWorkerError) -> Any:
            starts[name] += 1
            if starts[name] > ATTEMPTS:
                raise type(error)(f"{error} (attempt {ATTEMPTS} of {ATTEMPTS})") from error
            self._replace(by_name[name], error)
            return by_name[name].starting

        starting = {worker.starting: worker.name for worker in self._workers}
        gather(starting, "starting", self._start_deadline_s, start_again, hearts=self._pulse)
        for worker in self._workers:
            self._serve(worker)

    def provide(self, key: Any, send: Callable[[Any], Any]) -> None:
        """``send`` runs on a worker before its first call that needs ``key``, also on one that comes new."""
        self._preparations[key] = send

    def withdraw(self, keep: Collection[Any]) -> None:
        """Forget preparations that no call will need any more."""
        self._preparations = {key: send for key, send in self._preparations.items() if key in keep}

    def prepare(self, key: Any, what: str, together: Callable[[list[Any]], list[Any]] | None = None) -> None:
        """Run what was provided under ``key`` on every worker that is free, now, and wait for it.

        together: does so for a list of actors at once; those it fails for are then prepared one by one.
        """
        by_name = {worker.name: worker for worker in self._idle if worker.has != key}
        blamed: set[str] = set()
        if together is None:
            calls = {self._prepare(worker, key): name for name, worker in by_name.items()}
        else:
            refs = together([worker.actor for worker in by_name.values()]) if by_name else []
            calls = dict(zip(refs, by_name, strict=True))
            for worker in by_name.values():
                worker.has = key

        def again(name: str, error: LostWorkerError) -> Any:
            if name in blamed or not isinstance(error, TransferError):
                self._replace(by_name[name], error)
            blamed.add(name)
            return self._prepare(by_name[name], key)

        gather(calls, what, self._call_deadline_s, again, hearts=self._pulse)

    def announce(self, key: Any) -> None:
        """As ``prepare``, without waiting: what becomes of it, a worker's next call tells."""
        for worker in self._idle:
            if worker.has != key:
                worker.announced = self._prepare(worker, key)

    def put_to_sleep(self) -> None:
        """Every worker that is free gives its device's memory back, and has no preparation any more. Waits for it."""
        awake = {worker.name: worker for worker in self._idle if worker.has is not None}
        calls = {worker.actor.sleep.remote(): name for name, worker in awake.items()}
        for worker in awake.values():
            worker.has = worker.announced = None

        def start_again(name: str, error: LostWorkerError) -> Any:
            self._replace(awake[name], error)
            return awake[name].starting  # which ends asleep

        gather(calls, "giving memory back", self._call_deadline_s, start_again, hearts=self._pulse)

    def submit(self, *calls: Call) -> None:
        self._queue.extend((call, 1) for call in calls)
        self._start_idle()

    def collect(self, ready: Collection[Any]) -> Iterator[tuple[Call, Any]]:
        """Finished calls with their values. Lost and overdue ones run again elsewhere, within the budget, and have the
        value that their call names instead after the last attempt.

        Raises WorkerError or DeadlineError where the budget is spent or a call names none, and what a worker raised on
        purpose.
        """
        for call, value, _ in self.finished(ready):
            yield call, value

    def finished(self, ready: Collection[Any]) -> Iterator[tuple[Call, Any, Any]]:
        """As ``collect``, with the object ref of each value besides; None for one that stands instead."""
        for ref in [ref for ref in self._running if ref in ready]:
            running = self._running.get(ref)
            if running is None:  # given back to the queue with another of its worker
                continue
            try:
                value = self._value(ref, running)
            except LostWorkerError as error:
                yield from self._retry(running, error)
                continue
            self._done(running)
            self._go_on(running.worker)  # before anybody looks at what it made
            if not running.recalled:
                yield running.call, value, ref
        self._take_started(ready)
        yield from self._give_up_lost()
        self._start_idle()

    def recall(self) -> list[Call]:
        """Every call that is not finished, which will not be answered any more. A worker that has one is left to finish it
        before it gets another; what waits for a worker is not begun."""
        sent = [running for running in self._running.values() if not running.recalled]
        for running in sent:
            running.recalled = True
        waiting = [call for call, _ in self._queue]
        self._queue.clear()
        return [*(running.call for running in sent), *waiting]

    def cancel(self) -> None:
        """Forget every call. Workers that are in the middle of one are left to finish it, which nobody waits for."""
        self._queue.clear()
        self._running.clear()
        for worker in self._workers:
            worker.calls.clear()
        self._idle = deque(worker for worker in self._workers if worker.starting is None)

    def close(self) -> None:
        for worker in self._workers:
            end(worker.actor, self._pulse.beat(worker.name))
        self._pulse.clear()
        self._workers.clear()
        self._idle.clear()
        self._running.clear()
        self._queue.clear()

    def _start_idle(self) -> None:
        """Each worker that is free gets a call. While there are plenty it gets the next one in advance, and does not stand
        still until we hear of the first; towards the end that could leave work with one while another is free."""
        while self._idle and self._queue:
            self._send(self._idle.popleft())
        if len(self._queue) > len(self._workers):
            for worker in self._workers:
                self._advance(worker)

    def _go_on(self, worker: Worker) -> None:
        """``_start_idle`` for one that is done with a call: of a thousand workers the others need no look."""
        while self._idle and self._queue:
            self._send(self._idle.popleft())
        self._advance(worker)

    def _advance(self, worker: Worker) -> None:
        if len(self._queue) > len(self._workers) and len(worker.calls) == 1:
            self._send(worker)

    def _send(self, worker: Worker) -> None:
        call, attempt = self._queue.popleft()
        preparing, worker.announced = worker.announced, None
        if call.needs is not None and worker.has != call.needs:
            preparing = self._prepare(worker, call.needs)
        running = Running(call, worker, attempt, call.send(worker.actor), float("inf"), preparing)
        self._running[running.ref] = running
        worker.calls.append(running)
        if len(worker.calls) == 1:
            self._first(worker)
        beat = self._pulse.beat(worker.name)
        self._on_send(worker.name, None if beat is None else beat.pid)

    def _first(self, worker: Worker) -> None:
        """Its first call begins now, as far as we know."""
        worker.since = time.monotonic()
        worker.calls[0].ends = worker.since + self._call_deadline_s

    def _done(self, running: Running) -> None:
        worker = running.worker
        del self._running[running.ref]
        worker.calls.remove(running)
        if worker.calls:
            self._first(worker)
        else:
            worker.since = time.monotonic()
            self._idle.append(worker)

    def _value(self, ref: Any, running: Running) -> Any:
        name = running.worker.name
        if running.preparing is not None:  # its own error says more than that of the call that came after it
            result(running.preparing, name, running.call.label)
        return result(ref, name, running.call.label)

    def _give_up_lost(self) -> Iterator[tuple[Call, Any, Any]]:
        now, starting = time.monotonic(), [worker for worker in self._workers if worker.starting is not None]
        for running in [running for running in self._running.values() if running.ends <= now]:
            waited = f"no answer from {running.worker.name} within {self._call_deadline_s:g} s"
            yield from self._retry(running, DeadlineError(f"{running.call.label}: {waited}"))
        by_name = {worker.name: worker.calls[0] for worker in self._workers if worker.calls}
        lost = self._pulse.lost({worker.name: _doing(worker) for worker in self._workers})
        for name, error in lost.items():
            if name in by_name:
                yield from self._retry(by_name[name], error)
        for worker in starting:
            if (error := lost.get(worker.name)) is not None:
                self._replace(worker, error)
            elif now - worker.since > self._start_deadline_s:
                raise DeadlineError(f"{worker.name}: did not start within {self._start_deadline_s:g} s")

    def _retry(self, running: Running, error: WorkerError | DeadlineError) -> Iterator[tuple[Call, Any, Any]]:
        """Its worker's first call was in hand when that was lost, and counts as tried; one behind it does not."""
        running, *behind = running.worker.calls
        for each in (running, *behind):
            del self._running[each.ref]
        running.worker.calls.clear()
        self._queue.extendleft((each.call, each.attempt) for each in behind if not each.recalled)
        if running.recalled:
            return self._replace(running.worker, error, "nobody wants what it did any more")
        call = running.call
        attempts = call.overdue_attempts if isinstance(error, DeadlineError) else call.attempts
        over = running.attempt >= attempts
        if over:
            error = type(error)(f"{error} (attempt {running.attempt} of {attempts})")
            if call.instead is None:
                raise error
        self._replace(running.worker, error, call.otherwise if over else "its work is done again with the same seeds")
        if over and call.instead is not None:
            yield call, call.instead(error), None
        else:
            self._queue.appendleft((call, running.attempt + 1))

    def _replace(
        self,
        worker: Worker,
        error: WorkerError | DeadlineError,
        then: str = "its work is done again with the same seeds",
    ) -> None:
        """A new actor in the old one's place. It loads what it needs at its first call: nothing from before counts."""
        end(worker.actor, self._pulse.beat(worker.name))
        self._pulse.forget(worker.name)
        if self.restarts >= self._restart_budget:
            spent = f"all {self._restart_budget} replacements of {self.kind}s are used up"
            raise type(error)(f"{error} ({spent})") from error
        self.restarts += 1
        logger.warning("%s; replaced, %s", error, then)
        worker.actor, worker.has = self._create(worker.index), None
        worker.announced = None
        if worker in self._idle:
            self._idle.remove(worker)
        self._start(worker)

    def _start(self, worker: Worker) -> None:
        self._pulse.watch(worker.name, worker.actor)
        worker.since = time.monotonic()
        worker.starting = worker.actor.ready.remote()

    def _take_started(self, ready: Collection[Any]) -> None:
        """Those that are ready now get calls; one that was lost meanwhile is started again: no call is to blame."""
        for worker in [worker for worker in self._workers if worker.starting in ready]:
            try:
                result(worker.starting, worker.name, "starting")
            except LostWorkerError as error:
                self._replace(worker, error)
                continue
            self._serve(worker)

    def _serve(self, worker: Worker) -> None:
        worker.starting, worker.since = None, time.monotonic()
        self._pulse.settled(worker.name)
        self._idle.append(worker)

    def _prepare(self, worker: Worker, key: Any) -> Any:
        worker.has = key
        return self._preparations[key](worker.actor)


def _doing(worker: Worker) -> str:
    """What its first call is called."""
    if worker.calls:
        return worker.calls[0].call.label
    return "starting" if worker.starting is not None else "idle"

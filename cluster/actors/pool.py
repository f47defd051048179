"""A supervised pool of actors: each has a deadline for every call and a heartbeat, and is replaced where it misses one.

The pool never waits by itself: its owner hands it the refs that are ready, so that one loop can drive several pools.
Its parts: ``supervisor`` has the workers, ``dispatcher`` their calls, ``preparations`` what they need, ``retries`` the rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from cluster.actors.call import Call, Finished, Running, Worker, WorkerState
from cluster.actors.dispatcher import Dispatcher
from cluster.actors.errors import LostWorkerError
from cluster.actors.preparations import Preparations
from cluster.actors.retries import Fate, verdict
from cluster.actors.supervisor import PoolSettings, Supervisor
from cluster.actors.waiting import result
from rl.errors import DeadlineError, WorkerError


class ActorPool:
    """``create(index)`` starts an actor, a ``cluster.actors.heartbeat.HasHeartbeat``; its method ``ready`` loads what it
    needs. kind: names its workers, as in ``rollout worker 3``. on_send(worker, pid) is called whenever a worker was given a
    call; pid is None before its first heartbeat.
    """

    def __init__(
        self,
        kind: str,
        create: Callable[[int], Any],
        size: int,
        settings: PoolSettings,
        on_send: Callable[[str, int | None], None],
    ) -> None:
        self._settings = settings
        self.supervisor = Supervisor(kind, create, size, settings)
        self.preparations = Preparations(self.supervisor, settings.call_deadline_s)
        self.dispatcher = Dispatcher(
            self.supervisor.workers,
            self.supervisor.idle,
            settings.call_deadline_s,
            self.preparations.before_call,
            lambda worker: on_send(worker.name, self.supervisor.pid(worker)),
        )

    @property
    def waiting(self) -> int:
        """Calls that no worker has taken yet."""
        return self.dispatcher.waiting

    @property
    def restarts(self) -> int:
        """Replacements so far."""
        return self.supervisor.restarts

    @property
    def refs(self) -> list[Any]:
        """What to wait for."""
        return [*self.dispatcher.running, *(worker.starting for worker in self.supervisor.starting)]

    def states(self) -> list[WorkerState]:
        return self.supervisor.states()

    def seconds_left(self) -> float:
        """Until the first deadline of a running call or a start, or until heartbeats are looked for."""
        ends = [running.ends for running in self.dispatcher.running.values()]
        ends += [worker.since + self._settings.start_deadline_s for worker in self.supervisor.starting]
        return min(self.supervisor.heartbeats.pause_s, min(ends) - time.monotonic()) if ends else float("inf")

    def wait_ready(self) -> None:
        """Until every actor is ready; one that is lost meanwhile is started again. Raises what one of them raised,
        WorkerError or DeadlineError."""
        self.supervisor.wait_ready()

    def submit(self, *calls: Call) -> None:
        self.dispatcher.submit(calls)

    def collect(self, ready: Collection[Any]) -> Iterator[Finished]:
        """Finished calls. Lost and overdue ones run again on another worker, within the budget; after the last attempt
        they have the value that ``Call.instead`` makes.

        Raises WorkerError or DeadlineError where the budget is spent or a call has no ``instead``, and what a worker raised
        on purpose.
        """
        for ref in [ref for ref in self.dispatcher.running if ref in ready]:
            running = self.dispatcher.running.get(ref)
            if running is None:  # given back to the queue with another of its worker
                continue
            try:
                value = _value(running)
            except LostWorkerError as error:
                yield from self._retry(running.worker, error)
                continue
            self.dispatcher.done(running)  # its worker goes on before anybody looks at what it made
            if not running.recalled:
                yield Finished(running.call, value, ref)
        self.supervisor.take_started(ready)
        yield from self._give_up_lost()
        self.dispatcher.start()

    def recall(self) -> list[Call]:
        """Every call that is not finished: none of them is answered any more. Workers finish what they do first."""
        return self.dispatcher.recall()

    def cancel(self) -> None:
        """Forget every call. A worker that does one is left to finish it, which nobody waits for."""
        self.dispatcher.cancel()

    def offload(self) -> None:
        """Every idle worker gives its device's memory back, and loses its preparation. Waits for it."""
        self.preparations.offload()

    def close(self) -> None:
        self.supervisor.close()
        self.dispatcher.cancel()

    def _give_up_lost(self) -> Iterator[Finished]:
        now, starting = time.monotonic(), self.supervisor.starting
        for running in self.dispatcher.overdue():
            waited = f"no answer from {running.worker.name} within {self._settings.call_deadline_s:g} s"
            yield from self._retry(running.worker, DeadlineError(f"{running.call.label}: {waited}"))
        working = {worker.name: worker for worker in self.supervisor.workers if worker.calls}
        lost = self.supervisor.lost()
        for name, error in lost.items():
            if name in working:
                yield from self._retry(working[name], error)
        self.supervisor.restart_lost(starting, lost, now)

    def _retry(self, worker: Worker, error: WorkerError | DeadlineError) -> Iterator[Finished]:
        """Replace a worker that was lost or is overdue, and decide what becomes of the call that it was doing."""
        running = self.dispatcher.take_back(worker)
        call = running.call
        found = verdict(call, running.attempt, error, recalled=running.recalled)
        if found.fate is Fate.RAISED:
            raise found.error
        self.supervisor.replace(worker, found.error, found.why)
        if found.fate is Fate.AGAIN:
            self.dispatcher.again(running)
        elif found.fate is Fate.INSTEAD and call.instead is not None:
            yield Finished(call, call.instead(found.error))


def _value(running: Running) -> Any:
    """Raises as ``cluster.actors.waiting.result``."""
    name, label = running.worker.name, running.call.label
    if running.preparing is not None:  # its own error says more than that of the call that came after it
        result(running.preparing, name, label)
    return result(running.ref, name, label)

"""Which worker does which call, and when: one call each, and while there are plenty one more in advance. Without Ray."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from cluster.actors.call import Call, Running, Worker


class Dispatcher:
    """Hands calls to idle workers, in order.

    workers, idle: the supervisor's own; a worker that gets a call leaves ``idle``. deadline_s: of a call, from when its
    worker begins it. before_call(worker, needs) prepares a worker, and returns the ref of that or None. on_send(worker) is
    called whenever a worker was given a call. running: calls that a worker has, by object ref.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        idle: deque[Worker],
        deadline_s: float,
        before_call: Callable[[Worker, Any], Any],
        on_send: Callable[[Worker], None],
    ) -> None:
        self._workers, self._idle, self._deadline_s = workers, idle, deadline_s
        self._before_call, self._on_send = before_call, on_send
        self._queue: deque[tuple[Call, int]] = deque()
        self.running: dict[Any, Running] = {}

    @property
    def waiting(self) -> int:
        """Calls that no worker has taken yet."""
        return len(self._queue)

    def submit(self, calls: Sequence[Call]) -> None:
        self._queue.extend((call, 1) for call in calls)
        self.start()

    def again(self, running: Running) -> None:
        """Its call's next attempt comes first."""
        self._queue.appendleft((running.call, running.attempt + 1))

    def start(self) -> None:
        """Each worker that is idle gets a call.

        While calls are plenty, each worker also gets its next one in advance, and does not stand still until we hear of the
        first. Towards the end that could leave work with one worker while another is idle.
        """
        self._start_idle()
        if len(self._queue) > len(self._workers):
            for worker in self._workers:
                self._advance(worker)

    def done(self, running: Running) -> None:
        """Its worker goes on with its next call, or is idle."""
        worker = running.worker
        del self.running[running.ref]
        worker.calls.remove(running)
        if worker.calls:
            self._begin_first(worker)
        else:
            worker.since = time.monotonic()
            self._idle.append(worker)
        self._start_idle()
        self._advance(worker)  # of a thousand workers the others need no look

    def take_back(self, worker: Worker) -> Running:
        """The call that a lost worker was doing. One that it had in advance waits again, and was not tried."""
        first, *behind = worker.calls
        for running in (first, *behind):
            del self.running[running.ref]
        worker.calls.clear()
        self._queue.extendleft((each.call, each.attempt) for each in behind if not each.recalled)
        return first

    def overdue(self) -> list[Running]:
        now = time.monotonic()
        return [running for running in self.running.values() if running.ends <= now]

    def recall(self) -> list[Call]:
        """Every call that is not finished: none of them is answered any more.

        A worker is left to finish the one that it does before it gets another. What waits for a worker is not begun.
        """
        sent = [running for running in self.running.values() if not running.recalled]
        for running in sent:
            running.recalled = True
        waiting = [call for call, _ in self._queue]
        self._queue.clear()
        return [*(running.call for running in sent), *waiting]

    def cancel(self) -> None:
        """Forget every call. A worker that does one is left to finish it, which nobody waits for."""
        self._queue.clear()
        self.running.clear()
        for worker in self._workers:
            worker.calls.clear()
        self._idle.clear()
        self._idle.extend(worker for worker in self._workers if worker.starting is None)

    def _start_idle(self) -> None:
        while self._idle and self._queue:
            self._send(self._idle.popleft())

    def _advance(self, worker: Worker) -> None:
        if len(self._queue) > len(self._workers) and len(worker.calls) == 1:
            self._send(worker)

    def _send(self, worker: Worker) -> None:
        call, attempt = self._queue.popleft()
        preparing = self._before_call(worker, call.needs)
        running = Running(call, worker, attempt, call.send(worker.actor), float("inf"), preparing)
        self.running[running.ref] = running
        worker.calls.append(running)
        if len(worker.calls) == 1:
            self._begin_first(worker)
        self._on_send(worker)

    def _begin_first(self, worker: Worker) -> None:
        """Its first call begins now, as far as we know."""
        worker.since = time.monotonic()
        worker.calls[0].ends = worker.since + self._deadline_s

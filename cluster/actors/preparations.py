"""What a worker must have before a call, by key. Of rollout workers: the weights of a version, by their ``WeightRef``.

A preparation runs on a worker before its first call that needs it, also on a worker that was restarted. Workers that are
idle can also be prepared ahead of their calls.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, KeysView
from typing import Any

from cluster.actors.call import Worker
from cluster.actors.errors import LostWorkerError, TransferError
from cluster.actors.supervisor import Supervisor
from cluster.actors.waiting import gather


class Preparations:
    """deadline_s: of one that is waited for."""

    def __init__(self, supervisor: Supervisor, deadline_s: float) -> None:
        self._supervisor, self._deadline_s = supervisor, deadline_s
        self._sends: dict[Any, Callable[[Any], Any]] = {}

    def keys(self) -> KeysView[Any]:
        return self._sends.keys()

    def provide(self, key: Any, send: Callable[[Any], Any]) -> None:
        """``send(actor)`` prepares an actor for calls that need ``key``, and returns its object ref."""
        self._sends[key] = send

    def withdraw(self, keep: Collection[Any]) -> None:
        """Forget what no call will need any more."""
        self._sends = {key: send for key, send in self._sends.items() if key in keep}

    def before_call(self, worker: Worker, needs: Any) -> Any:
        """Prepare the worker for a call, where it is not; the ref of what the call then waits for, or None."""
        preparing, worker.announced = worker.announced, None
        if needs is None or worker.has == needs:
            return preparing
        return self._send(worker, needs)

    def run(self, key: Any, what: str, together: Callable[[list[Any]], list[Any]]) -> None:
        """Prepare every idle worker now, and wait for it. what: for messages.

        together: prepares a list of actors at once, and returns their object refs. Those it fails for are then prepared one
        by one.
        """
        by_name = {worker.name: worker for worker in self._supervisor.idle if worker.has != key}
        blamed: set[str] = set()
        refs = together([worker.actor for worker in by_name.values()]) if by_name else []
        for worker in by_name.values():
            worker.has = key

        def again(name: str, error: LostWorkerError) -> Any:
            if name in blamed or not isinstance(error, TransferError):
                self._supervisor.replace(by_name[name], error)
            blamed.add(name)
            return self._send(by_name[name], key)

        self._gather(dict(zip(refs, by_name, strict=True)), what, again)

    def announce(self, key: Any) -> None:
        """Prepare every idle worker, without waiting: its next call raises what goes wrong."""
        for worker in self._supervisor.idle:
            if worker.has != key:
                worker.announced = self._send(worker, key)

    def offload(self) -> None:
        """Every idle worker gives its device's memory back, and loses its preparation. Waits for it."""
        by_name = {worker.name: worker for worker in self._supervisor.idle if worker.has is not None}
        calls = {worker.actor.offload.remote(): name for name, worker in by_name.items()}
        for worker in by_name.values():
            worker.has = worker.announced = None

        def again(name: str, error: LostWorkerError) -> Any:
            self._supervisor.replace(by_name[name], error)
            return by_name[name].starting  # an actor starts offloaded

        self._gather(calls, "giving memory back", again)

    def _send(self, worker: Worker, key: Any) -> Any:
        worker.has = key
        return self._sends[key](worker.actor)

    def _gather(self, calls: dict[Any, str], what: str, again: Callable[[str, LostWorkerError], Any]) -> None:
        gather(calls, what, self._deadline_s, again, heartbeats=self._supervisor.heartbeats)

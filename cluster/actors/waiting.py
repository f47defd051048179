"""Waiting for Ray, never without a deadline (law 7), with errors that name who was asked for what."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import ray
from ray.exceptions import RayError, RayTaskError

from cluster.actors.errors import LostWorkerError
from rl.errors import DeadlineError, UniGRPOError, WorkerError, first_line


class Watch(Protocol):
    """What ``gather`` needs of ``cluster.actors.heartbeat.Heartbeats``."""

    @property
    def pause_s(self) -> float: ...

    def lost(self, doing: str) -> dict[str, LostWorkerError]: ...


class Aside(Protocol):
    """Work that goes on while something else is waited for: ``cluster.workers.on_ray.RayWorkers``."""

    def refs(self) -> list[Any]: ...

    def drive(self) -> None: ...


def gather(
    calls: Mapping[Any, str],
    what: str,
    deadline_s: float,
    on_lost: Callable[[str, LostWorkerError], Any] | None = None,
    *,
    heartbeats: Watch | None = None,
    aside: Aside | None = None,
) -> dict[str, Any]:
    """Results by worker name, of calls given as {object ref: worker name}.

    Stops at the first that fails, even while others hang. ``on_lost(worker, error)`` may start a lost call again and
    return its new ref. heartbeats: of the workers; one without is lost. aside: other work to keep going meanwhile.
    Raises LostWorkerError, WorkerError, DeadlineError, or the UniGRPOError that a worker raised.
    """
    results: dict[str, Any] = {}
    waiting = dict(calls)
    ends = time.monotonic() + deadline_s
    pause_s = float("inf") if heartbeats is None else heartbeats.pause_s
    while waiting:
        others = [] if aside is None else aside.refs()
        timeout = max(0.0, min(pause_s, ends - time.monotonic()))
        ready, _ = ray.wait([*waiting, *others], num_returns=1, timeout=timeout)
        if aside is not None:
            aside.drive()
        failed = {} if heartbeats is None else heartbeats.lost(what)
        for ref in [ref for ref, who in waiting.items() if ref in ready or who in failed]:
            who = waiting.pop(ref)
            try:
                if ref not in ready:
                    raise failed[who]
                results[who] = result(ref, who, what)
            except LostWorkerError as error:
                if on_lost is None:
                    raise
                waiting[on_lost(who, error)] = who
        if waiting and time.monotonic() >= ends:
            raise DeadlineError(f"{what}: no answer from {', '.join(sorted(waiting.values()))} within {deadline_s:g} s")
    return results


def result(ref: Any, who: str, what: str) -> Any:
    """The value of a finished call. Raises as ``gather`` does."""
    try:
        return ray.get(ref, timeout=60.0)  # finished: this only moves its bytes
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, UniGRPOError):
            raise cause from error
        raise WorkerError(f"{who}, {what}: {type(cause).__name__}: {first_line(cause)}") from error
    except RayError as error:
        raise LostWorkerError(f"{who} was lost, {what}: {type(error).__name__}: {first_line(error)}") from error


def kill(actor: Any) -> None:
    """End an actor at once, whatever it does; one that is gone already is fine."""
    try:
        ray.kill(actor, no_restart=True)
    except (RayError, ValueError):
        return

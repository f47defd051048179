"""Heartbeats. Every actor answers ``beat`` in a thread of its own, also while it works. An actor that does not answer is
stopped, wedged, or cut off: it is given up long before the deadline of its call."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from ray.exceptions import RayError

from cluster.actors.errors import LostWorkerError
from cluster.actors.waiting import kill

GROUP = "heartbeat"
OPTIONS: dict[str, Any] = {"concurrency_groups": {GROUP: 1}}  # for ray.remote: one more thread, for beats alone
LONGEST_PAUSE_S = 2.0
LOOK_S = 0.2
ASKED_A_S = 50  # actors, at most, however many there are


@dataclass(frozen=True, slots=True)
class Beat:
    """Where an actor lives, and since when (seconds since 1970). Example: ``Beat(4711, "node-3", 1.7e9)``."""

    pid: int
    host: str
    started: float


class HasHeartbeat:
    """What every actor class inherits. Its actors are made with ``ray.remote(**OPTIONS)``."""

    def beat(self) -> Beat:
        return Beat(os.getpid(), socket.gethostname(), psutil.Process().create_time())


@dataclass(slots=True)
class _Watched:
    actor: Any
    asked: float
    ref: Any
    limit_s: float
    beat: Beat | None = None
    seen: float = 0.0
    problem: str = ""


class Heartbeats:
    """Asks named actors for heartbeats, and never waits for one. deadline_s: for an answer.

    An actor that is not settled yet has start_deadline_s on top: it imports and loads, and much of that lets no other
    thread run.
    """

    def __init__(self, deadline_s: float, start_deadline_s: float) -> None:
        self._deadline_s, self._start_deadline_s = deadline_s, start_deadline_s
        self._watched: dict[str, _Watched] = {}
        self._looked = 0.0

    @property
    def pause_s(self) -> float:
        """Seconds between two questions to one actor."""
        return min(max(LONGEST_PAUSE_S, len(self._watched) / ASKED_A_S), self._deadline_s / 4)

    def watch(self, name: str, actor: Any) -> None:
        """From now on; an actor of the same name is forgotten."""
        now = time.monotonic()
        self._watched[name] = _Watched(actor, now, _ask(actor), self._start_deadline_s + self._deadline_s)

    def settled(self, name: str) -> None:
        """It has done its first work, so its first heartbeat is there, or about to be."""
        watched = self._watched.get(name)
        if watched is None:
            return
        watched.limit_s = self._deadline_s
        first = watched.ref if watched.beat is None else None
        if first is not None and ray.wait([first], timeout=self._deadline_s)[0]:
            self._hear(watched, time.monotonic())

    def forget(self, name: str) -> None:
        self._watched.pop(name, None)

    def clear(self) -> None:
        self._watched.clear()

    def beat(self, name: str) -> Beat | None:
        """The last one; None before the first."""
        watched = self._watched.get(name)
        return None if watched is None else watched.beat

    def age_s(self, name: str) -> float | None:
        """Seconds since the last heartbeat arrived; None before the first."""
        watched = self._watched.get(name)
        return None if watched is None or watched.beat is None else time.monotonic() - watched.seen

    def lost(self, doing: str | Mapping[str, str]) -> dict[str, LostWorkerError]:
        """An error for each actor whose heartbeat is overdue, or that is dead, until it is forgotten.

        doing: what all of them were doing, or by name. Callers may ask at every answer: Ray is asked every LOOK_S at most.
        """
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self._looked = now
            self._look(now)
        return {
            name: LostWorkerError(f"{name} was lost, {_doing(doing, name)}: {watched.problem}")
            for name, watched in self._watched.items()
            if watched.problem
        }

    def _look(self, now: float) -> None:
        answered = self._answered()
        for watched in self._watched.values():
            if watched.ref in answered:
                self._hear(watched, now)
            elif watched.ref is not None and now - watched.asked > watched.limit_s:
                watched.problem = f"no heartbeat within {watched.limit_s:g} s"
            elif watched.ref is None and not watched.problem and now - watched.asked >= self.pause_s:
                watched.asked, watched.ref = now, _ask(watched.actor)

    def _answered(self) -> set[Any]:
        refs = [watched.ref for watched in self._watched.values() if watched.ref is not None]
        return set(ray.wait(refs, num_returns=len(refs), timeout=0)[0]) if refs else set()

    def _hear(self, watched: _Watched, now: float) -> None:
        try:
            watched.beat = ray.get(watched.ref, timeout=60.0)
            watched.seen = now
        except RayError as error:
            watched.problem = type(error).__name__
        watched.ref = None


def end(actor: Any, beat: Beat | None) -> None:
    """Kill an actor for good.

    Ray asks the process to exit, and a stopped process never gets the message. So a stopped process on this machine also
    gets a SIGKILL. A running one does not: Ray would log that as a crash.
    """
    kill(actor)
    if beat is None or beat.host != socket.gethostname():
        return
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(beat.pid)
        same = process.create_time() == beat.started  # else another process has its number by now
        if same and process.status() == psutil.STATUS_STOPPED:
            process.kill()


def _ask(actor: Any) -> Any:
    return actor.beat.options(concurrency_group=GROUP).remote()


def _doing(doing: str | Mapping[str, str], name: str) -> str:
    return doing if isinstance(doing, str) else doing.get(name, "idle")

"""Calls to the learner's rank actors, each with a deadline."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import ray

from cluster.actors.call import WorkerState
from cluster.actors.errors import LostWorkerError
from cluster.actors.heartbeat import Heartbeats, end
from cluster.actors.waiting import Aside, gather, result
from cluster.learner.places import RankPlaces
from rl.config.cluster import ClusterConfig
from rl.errors import CheckpointError, DeadlineError, LearnerLostError, UniGRPOError

FIRST = "learner rank 0"
FAREWELL_S = 5.0  # after one rank failed: for the news of another's death to arrive


class RankCalls:
    """The rank actors that live, by name, and their heartbeats. Where one is lost, all of them are ended.

    aside: work that goes on while the ranks are waited for.
    """

    def __init__(self, cluster: ClusterConfig, places: RankPlaces) -> None:
        """places: given back when the ranks are ended."""
        self.actors: dict[str, Any] = {}
        self.aside: Aside | None = None
        self._places, self._deadline_s = places, cluster.learner_deadline_s
        self._heartbeats = Heartbeats(cluster.heartbeat_s, cluster.start_deadline_s)
        self._doing, self._since = "starting", time.monotonic()

    def add(self, name: str, actor: Any) -> None:
        self.actors[name] = actor
        self._heartbeats.watch(name, actor)

    def settled(self) -> None:
        """All ranks have started: a heartbeat is due within its own deadline from now on."""
        for name in self.actors:
            self._heartbeats.settled(name)

    def pid(self, name: str) -> int | None:
        """None where the process is not known yet."""
        beat = self._heartbeats.beat(name)
        return None if beat is None else beat.pid

    def send(self, method: str, *arguments: Any) -> dict[Any, str]:
        """Start this call on every rank: {object ref: name}."""
        return {getattr(actor, method).remote(*arguments): name for name, actor in self.actors.items()}

    def ask(self, what: str, method: str, *arguments: Any) -> dict[str, Any]:
        """What every rank returns, by name. what: the activity, for errors and ``unigrpo status``. Raises as ``wait``."""
        return self.wait(self.send(method, *arguments), what)

    def wait(self, calls: Mapping[Any, str], what: str, deadline_s: float | None = None) -> dict[str, Any]:
        """Results by name. deadline_s: by default ``cluster.learner_deadline_s``.

        Raises CheckpointError, after which the ranks go on. After any other error they are ended: LearnerLostError
        where one is gone or does not answer in time, else the UniGRPOError that a rank raised.
        """
        limit_s = self._deadline_s if deadline_s is None else deadline_s
        self._doing, self._since = what, time.monotonic()
        try:
            return gather(calls, what, limit_s, heartbeats=self._heartbeats, aside=self.aside)
        except CheckpointError:
            ray.wait(list(calls), num_returns=len(calls), timeout=limit_s)  # the others are done with their part too
            raise
        except UniGRPOError as error:
            lost = error if isinstance(error, DeadlineError) else _lost_rank(calls, what, self._heartbeats)
            self.end()  # the other ranks may wait in a collective for one that is gone
            if lost is not None:
                raise LearnerLostError(str(lost)) from error
            raise
        finally:
            self._doing, self._since = "idle", time.monotonic()

    def states(self) -> list[WorkerState]:
        """Ranks do everything together."""
        seconds = time.monotonic() - self._since
        return [
            WorkerState(name, self._doing, seconds, 1, None, self._heartbeats.beat(name), self._heartbeats.age_s(name))
            for name in list(self.actors)
        ]

    def end(self) -> None:
        for name, actor in self.actors.items():
            end(actor, self._heartbeats.beat(name))
        self._heartbeats.clear()
        self.actors = {}
        self._places.close()


def _lost_rank(calls: Mapping[Any, str], what: str, heartbeats: Heartbeats) -> LostWorkerError | None:
    """The rank that is gone, if one is. The others only report a broken connection, which names nobody."""
    for lost in heartbeats.lost(what).values():
        return lost
    ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=FAREWELL_S)
    for ref in ready:
        try:
            result(ref, calls[ref], what)
        except LostWorkerError as lost:
            return lost
        except UniGRPOError:
            continue
    return None

"""Starting the learner's ranks: their actors, a GPU for each, and the store where they meet."""

from __future__ import annotations

import logging
from typing import Any

import ray

from cluster.actors.heartbeat import OPTIONS
from cluster.actors.resources import Placement
from cluster.learner.places import RankPlaces, check_devices
from cluster.learner.rank_actor import RankActor
from cluster.learner.rank_calls import FIRST, RankCalls
from rl.config import Config
from rl.errors import LearnerLostError, WorkerError

logger = logging.getLogger(__name__)


class RankStarter:
    """Starts all ranks: once, and anew after a loss, at most ``cluster.learner_rebuilds`` times."""

    def __init__(
        self, config: Config, placement: Placement, places: RankPlaces, calls: RankCalls, rank_class: type[RankActor]
    ) -> None:
        self._config, self._placement, self._places, self._calls = config, placement, places, calls
        self._rank_class = rank_class
        self._deadline_s = config.cluster.start_deadline_s
        self._on_gpus = config.policy.device.startswith("cuda")
        self._rebuilds = 0
        self._loading: dict[Any, str] | None = None

    def create(self) -> None:
        """Start the actors. One rank alone begins to load at once; several must all be there first."""
        rank_class, ranks = ray.remote(**OPTIONS)(self._rank_class), self._config.cluster.learner_ranks
        own_devices = self._on_gpus and self._placement.learner.get("num_gpus", 0) >= 1
        for rank in range(ranks):
            placed = rank_class.options(**self._places.options(rank))
            actor = placed.remote(self._config, rank, self._placement.folder, own_devices)
            self._calls.add(f"learner rank {rank}", actor)
        self._loading = self._load() if ranks == 1 else None

    def wait(self) -> None:
        """Until all have loaded. Where one is lost meanwhile, all start anew. Raises what a rank raised, WorkerError or
        DeadlineError."""
        while True:
            try:
                loading = self._loading or self._load()
                self._loading = None
                self._calls.wait(loading, "starting", self._deadline_s)
                break
            except LearnerLostError as error:
                self._count(error)
                logger.warning("%s; started again", error)
                self.create()
        self._calls.settled()

    def again(self) -> None:
        """All ranks anew, after they were ended. Raises WorkerError where that was too often."""
        self._count(None)
        self.create()
        self.wait()

    def _count(self, error: LearnerLostError | None) -> None:
        if self._rebuilds >= self._config.cluster.learner_rebuilds:
            why = "" if error is None else f": {error}"
            raise WorkerError(f"learner: lost again after cluster.learner_rebuilds={self._rebuilds} new starts{why}")
        self._rebuilds += 1

    def _load(self) -> dict[Any, str]:
        """Calls that end when each rank's learner is there."""
        calls, ranks = self._calls, self._config.cluster.learner_ranks
        if self._on_gpus:  # nothing is loaded before each rank has a device of its own
            check_devices(calls.wait(calls.send("device"), "starting", self._deadline_s))
        if ranks == 1:
            return calls.send("start", 1)
        store = {calls.actors[FIRST].host_store.remote(): FIRST}
        address, port = calls.wait(store, "starting", self._deadline_s)[FIRST]
        return calls.send("start", ranks, address, port)

"""The learner over Ray: one actor a rank, which all get the same batch and each take their share.

Ranks are never replaced one by one: where one is lost, the others are ended too. The next call starts all of them anew,
and LearnerLostError tells the loop to put them where the run's last checkpoint was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import ray

from cluster.actors.call import WorkerState
from cluster.actors.faults import FaultPlan
from cluster.actors.resources import Placement
from cluster.actors.waiting import Aside
from cluster.learner.batch_wire import to_wire
from cluster.learner.places import RankPlaces
from cluster.learner.rank_actor import RankActor
from cluster.learner.rank_calls import FIRST, RankCalls
from cluster.learner.rank_starter import RankStarter
from cluster.learner.turns import Turns
from cluster.weights.base import Published
from rl.config import Config
from rl.types import StepReport, TrainBatch


class Beside(Aside, Protocol):
    """Workers that go on while the ranks are waited for: ``cluster.workers.on_ray.RayWorkers``."""

    def take_turns(self, learner: RankGroup) -> Turns: ...


class RankGroup:
    """Implements ``rl.protocols.Learner``. Starts its ranks at once; ``wait_ready`` waits until they can train."""

    rank_class = RankActor

    def __init__(
        self, config: Config, placement: Placement, faults: FaultPlan | None = None, beside: Beside | None = None
    ) -> None:
        """faults: accidents on purpose, of tests. beside: workers, which take turns with the ranks on their devices where
        ``cluster.take_turns`` says so."""
        places = RankPlaces(config, placement.learner)
        self._config, self._faults, self._beside = config, faults or FaultPlan(), beside
        self._calls = RankCalls(config.cluster, places)
        self._starter = RankStarter(config, placement, places, self._calls, self.rank_class)
        self._turns = beside.take_turns(self) if beside is not None and config.cluster.take_turns else None
        self._starter.create()

    def wait_ready(self) -> None:
        """Where a rank is lost meanwhile, all start anew. Raises what a rank raised, WorkerError or DeadlineError."""
        self._starter.wait()
        self._calls.aside = self._beside  # until now the workers were starting too, which they wait for themselves

    def update(self, batch: TrainBatch) -> StepReport:
        """Rank 0's report: its metrics are sums over all ranks."""
        sent, ranks = ray.put(to_wire(batch)), self._ready()
        calls = ranks.send("update", sent)
        for name in ranks.actors:
            self._faults.inject(name, ranks.pid(name))
        return ranks.wait(calls, "training")[FIRST]

    def weights(self) -> Mapping[str, np.ndarray]:
        """Rank 0's. All are asked, since some engines shard the weights."""
        return self._ready().ask("sending weights", "weights")[FIRST]

    def publish(self, version: int) -> tuple[Published, Any]:
        """The version's name, and the object ref of what its wire needs. That goes from rank 0 to whoever wants it, not
        through this process."""
        ranks = self._ready()
        calls = {name: actor.publish.options(num_returns=2).remote(version) for name, actor in ranks.actors.items()}
        named = {refs[0]: name for name, refs in calls.items()}
        return ranks.wait(named, "publishing weights")[FIRST], calls[FIRST][1]

    @property
    def patience_s(self) -> float:
        return max(10.0, 2 * self._config.cluster.heartbeat_s)

    def ask_first(self, request: Any) -> Any:
        """Implements ``cluster.weights.base.Ranks``, as the next two do."""
        call = self._calls.actors[FIRST].serve.remote(request)
        return self._calls.wait({call: FIRST}, "sending weights")[FIRST]

    def ask_all(self, request: Any) -> list[Any]:
        found = self._calls.ask("sending weights", "serve", request)
        return [found[name] for name in self._calls.actors]

    def start(self, request: Any, first_waits_for: Sequence[Any] = ()) -> None:
        for name, actor in self._calls.actors.items():  # what becomes of it, the other side tells
            actor.serve.remote(request, *(first_waits_for if name == FIRST else ()))

    def offload(self) -> None:
        """Every rank; the next call of any kind restores it."""
        self._calls.ask("giving memory back", "offload")

    def save(self, folder: Path) -> None:
        """Raises CheckpointError where the disk is full, say; training may go on then."""
        self._ready().ask("saving", "save", folder.absolute())

    def load(self, folder: Path) -> None:
        self._ready().ask("loading", "load", folder.absolute())

    def states(self) -> list[WorkerState]:
        return self._calls.states()

    def queues(self) -> Mapping[str, int]:
        """Ranks have none."""
        return {}

    def close(self) -> None:
        self._calls.end()

    def _ready(self) -> RankCalls:
        """All ranks, once they are there and the devices are theirs. Raises WorkerError where they were lost too often."""
        if self._turns is not None:
            self._turns.learn()
        if not self._calls.actors:
            self._starter.again()
        return self._calls

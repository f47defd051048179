"""The learner over Ray: one actor a rank, which all get the same batch and each take their share.

Ranks are never replaced one by one: where one is lost, the others are ended too, and the run goes on from its last
checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from cluster.calls import LostWorkerError, gather, kill, result
from cluster.learner import make_learner
from cluster.placement import Device, RankPlaces, check_devices, this_device
from cluster.session import Placement, enter
from rl.config import Config
from rl.errors import UniGRPOError
from rl.types import StepReport, TrainBatch
from rl.update import UniGRPOLearner

FAREWELL_S = 5.0  # after one rank failed: for the news of another's death to arrive


class RankActor:
    """One rank. Its learner exists once ``start`` has run on all of them."""

    def __init__(self, config: Config, rank: int, folder: str) -> None:
        enter(folder)
        self._config, self._rank = config, rank
        self._store: TCPStore | None = None
        self._learner: UniGRPOLearner | None = None

    def device(self) -> Device:
        return this_device()

    def host_store(self) -> tuple[str, int]:
        """Rank 0: where the other ranks find it. The port is the system's choice, taken at once: nobody can race us."""
        address = ray.util.get_node_ip_address()
        self._store = TCPStore(address, 0, is_master=True, wait_for_workers=False)
        return address, self._store.port

    def start(self, world_size: int, address: str | None = None, port: int = 0) -> None:
        if self._store is None and address is not None:
            self._store = TCPStore(address, port, is_master=False)
        self._learner = make_learner(self._config, self._rank, world_size, self._store)

    def update(self, batch: TrainBatch) -> StepReport:
        return self.learner.update(batch)

    def weights(self) -> Mapping[str, np.ndarray]:
        return self.learner.weights()

    def save(self, folder: Path) -> None:
        self.learner.save(folder)

    def load(self, folder: Path) -> None:
        self.learner.load(folder)

    @property
    def learner(self) -> UniGRPOLearner:
        assert self._learner is not None, "start comes first"
        return self._learner


class RankGroup:
    """Implements ``rl.protocols.Learner``. Starts its ranks at once; ``wait_ready`` waits until they can train."""

    def __init__(self, config: Config, placement: Placement) -> None:
        self._deadline_s = config.cluster.learner_deadline_s
        self._start_deadline_s = config.cluster.start_deadline_s
        self._on_gpus = config.policy.device.startswith("cuda")
        self._places = RankPlaces(config, placement.learner)
        rank_class = ray.remote(RankActor)
        ranks = range(config.cluster.learner_ranks)
        self._ranks: dict[str, Any] = {
            f"learner rank {rank}": rank_class.options(**self._places.options(rank)).remote(
                config, rank, placement.folder
            )
            for rank in ranks
        }
        self._starting = self._start() if len(self._ranks) == 1 else None

    def wait_ready(self) -> None:
        """Raises what a rank raised, WorkerError or DeadlineError."""
        starting = self._starting or self._start()
        self._gather(starting, "starting", self._start_deadline_s)

    def update(self, batch: TrainBatch) -> StepReport:
        """Rank 0's report: its metrics are sums over all ranks."""
        return self._all("training", "update", ray.put(batch))["learner rank 0"]

    def weights(self) -> Mapping[str, np.ndarray]:
        call = self._ranks["learner rank 0"].weights.remote()
        return self._gather({call: "learner rank 0"}, "sending weights", self._deadline_s)["learner rank 0"]

    def save(self, folder: Path) -> None:
        self._all("saving", "save", folder.absolute())

    def load(self, folder: Path) -> None:
        self._all("loading", "load", folder.absolute())

    def close(self) -> None:
        for actor in self._ranks.values():
            kill(actor)
        self._ranks = {}
        self._places.close()

    def _start(self) -> dict[Any, str]:
        if self._on_gpus:  # nothing is loaded before each rank has a device of its own
            devices = {actor.device.remote(): name for name, actor in self._ranks.items()}
            check_devices(self._gather(devices, "starting", self._start_deadline_s))
        if len(self._ranks) == 1:
            return {actor.start.remote(1): name for name, actor in self._ranks.items()}
        first = "learner rank 0"
        call = {self._ranks[first].host_store.remote(): first}
        address, port = self._gather(call, "starting", self._start_deadline_s)[first]
        return {actor.start.remote(len(self._ranks), address, port): name for name, actor in self._ranks.items()}

    def _all(self, what: str, method: str, argument: Any) -> dict[str, Any]:
        calls = {getattr(actor, method).remote(argument): name for name, actor in self._ranks.items()}
        return self._gather(calls, what, self._deadline_s)

    def _gather(self, calls: Mapping[Any, str], what: str, deadline_s: float) -> dict[str, Any]:
        try:
            return gather(calls, what, deadline_s)
        except UniGRPOError as error:
            lost = _lost_rank(calls, what)
            self.close()  # the other ranks may wait in a collective for one that is gone
            if lost is not None:
                raise lost from error
            raise


def _lost_rank(calls: Mapping[Any, str], what: str) -> LostWorkerError | None:
    """The rank that is gone, if one is: what the others say of it, a broken connection, names nobody."""
    ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=FAREWELL_S)
    for ref in ready:
        try:
            result(ref, calls[ref], what)
        except LostWorkerError as lost:
            return lost
        except UniGRPOError:
            continue
    return None

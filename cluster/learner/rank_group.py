"""The learner over Ray: one actor a rank, which all get the same batch and each take their share.

Ranks are never replaced one by one: where one is lost, the others are ended too. The next call starts all of them anew,
and the loop, which is told by LearnerLostError, puts them where the run's last checkpoint was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from cluster.actors.call import WorkerState
from cluster.actors.device import Device, this_device
from cluster.actors.errors import LostWorkerError
from cluster.actors.faults import FaultPlan
from cluster.actors.heartbeat import OPTIONS, HasHeartbeat, Heartbeats, end
from cluster.actors.process import enter
from cluster.actors.resources import Placement
from cluster.actors.waiting import Aside, gather, result
from cluster.learner.batch_wire import PackedBatch, pack, unpack
from cluster.learner.one_rank import make_learner
from cluster.learner.parking import Parking
from cluster.learner.places import RankPlaces, check_devices
from cluster.learner.turns import Turns
from cluster.weights.base import Published, open_wire
from cluster.weights.payload import Payload
from rl.config import Config
from rl.errors import CheckpointError, DeadlineError, LearnerLostError, UniGRPOError, WorkerError
from rl.learner.update import UniGRPOLearner
from rl.types import StepReport, TrainBatch

logger = logging.getLogger(__name__)

FIRST = "learner rank 0"
FAREWELL_S = 5.0  # after one rank failed: for the news of another's death to arrive


class RankActor(HasHeartbeat):
    """One rank. Its learner exists once ``start`` has run on all of them."""

    def __init__(self, config: Config, rank: int, folder: str, own_device: bool = False) -> None:
        """own_device: this rank has a GPU to itself."""
        enter(folder, config.run_dir, f"learner rank {rank}")
        self._config, self._rank, self._own_device = config, rank, own_device
        self._store: TCPStore | None = None
        self._learner: UniGRPOLearner | None = None
        self._wire = open_wire(config.cluster.weight_sync)
        self._made_payload: Payload | None = None
        self._parking = Parking()

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

    def update(self, batch: PackedBatch) -> StepReport:
        self._wire.release()
        return self.learner.update(unpack(batch))

    def weights(self) -> Mapping[str, np.ndarray]:
        weights = self.learner.weights()
        return weights if self._rank == 0 else {}

    def publish(self, version: int) -> tuple[Published | None, Any]:
        """Rank 0: the version's name, and what its wire needs to receive it. The other ranks only take part.
        Raises TrainingError for a NaN in the weights."""
        payload = self._payload()
        payload.collect()
        if self._rank:
            payload.take_part()
            return None, None
        ref, body = self._wire.publish(payload, version)
        return Published(ref, payload.base), body

    def serve(self, request: Any, *after: bool) -> Any:
        """What the wire's driver side asks for. Ray starts this when all of ``after`` are there."""
        return self._wire.serve(self._payload(), request)

    def _payload(self) -> Payload:
        learner = self.learner  # restarts it where its memory was offloaded
        if self._made_payload is None:
            lora_on = self._config.learner.lora.on
            self._made_payload = Payload(learner, self._rank, adapter=lora_on, own_device=self._own_device)
        return self._made_payload

    def sleep(self) -> int:
        """Give the device's memory back until this rank works again; the bytes."""
        return self._parking.park(self._learner, torch.device(self._config.policy.device).type)

    def save(self, folder: Path) -> None:
        self.learner.save(folder)

    def load(self, folder: Path) -> None:
        self.learner.load(folder)

    @property
    def learner(self) -> UniGRPOLearner:
        assert self._learner is not None, "start comes first"
        self._parking.unpark()
        return self._learner


class RankGroup:
    """Implements ``rl.protocols.Learner``. Starts its ranks at once; ``wait_ready`` waits until they can train.

    faults: accidents on purpose, of tests.
    """

    rank_class = RankActor

    def __init__(self, config: Config, placement: Placement, faults: FaultPlan | None = None) -> None:
        self._config, self._placement, self._faults = config, placement, faults or FaultPlan()
        self._deadline_s = config.cluster.learner_deadline_s
        self._start_deadline_s = config.cluster.start_deadline_s
        self._pulse = Heartbeats(config.cluster.heartbeat_s, config.cluster.start_deadline_s)
        self._on_gpus = config.policy.device.startswith("cuda")
        self._own_devices = self._on_gpus and placement.learner.get("num_gpus", 0) >= 1
        self._places = RankPlaces(config, placement.learner)
        self._aside: Aside | None = None
        self._turns: Turns | None = None
        self.doing, self.since, self.rebuilds = "starting", time.monotonic(), 0
        self._ranks: dict[str, Any] = {}
        self._starting: dict[Any, str] | None = None
        self._create()

    def wait_ready(self) -> None:
        """Where a rank is lost meanwhile, all start anew. Raises what a rank raised, WorkerError or DeadlineError."""
        while True:
            try:
                starting = self._starting or self._start()
                self._starting = None
                self._gather(starting, "starting", self._start_deadline_s)
                break
            except LearnerLostError as error:
                self._count_rebuild(error)
                logger.warning("%s; started again", error)
                self._create()
        for name in self._ranks:
            self._pulse.settled(name)

    def work_beside(self, aside: Aside, turns: Turns | None = None) -> None:
        """aside: what goes on while the ranks are waited for. turns: with the rollout workers, where they share devices
        and do not work at once."""
        self._aside, self._turns = aside, turns

    def update(self, batch: TrainBatch) -> StepReport:
        """Rank 0's report: its metrics are sums over all ranks."""
        return self._all("training", "update", ray.put(pack(batch)))[FIRST]

    def weights(self) -> Mapping[str, np.ndarray]:
        """Rank 0's. All are asked, since some engines part the weights."""
        self._take_turn()
        calls = {actor.weights.remote(): name for name, actor in self._ranks.items()}
        return self._gather(calls, "sending weights", self._deadline_s)[FIRST]

    def publish(self, version: int) -> tuple[Published, Any]:
        """The version's name, and the object ref of what its wire needs: that goes from rank 0 to whoever wants it, not
        through this process."""
        self._take_turn()
        calls = {name: actor.publish.options(num_returns=2).remote(version) for name, actor in self._ranks.items()}
        named = {refs[0]: name for name, refs in calls.items()}
        return self._gather(named, "publishing weights", self._deadline_s)[FIRST], calls[FIRST][1]

    @property
    def patience_s(self) -> float:
        return max(10.0, 2 * self._config.cluster.heartbeat_s)

    def ask_first(self, request: Any) -> Any:
        """Implements ``cluster.weights.base.Ranks``, as the next two do."""
        call = self._ranks[FIRST].serve.remote(request)
        return self._gather({call: FIRST}, "sending weights", self._deadline_s)[FIRST]

    def ask_all(self, request: Any) -> list[Any]:
        calls = {actor.serve.remote(request): name for name, actor in self._ranks.items()}
        found = self._gather(calls, "sending weights", self._deadline_s)
        return [found[name] for name in self._ranks]

    def start(self, request: Any, first_waits_for: Sequence[Any] = ()) -> None:
        for name, actor in self._ranks.items():  # what becomes of it, the other side tells
            actor.serve.remote(request, *(first_waits_for if name == FIRST else ()))

    def sleep(self) -> None:
        """Every rank; the next call of any kind wakes it."""
        calls = {actor.sleep.remote(): name for name, actor in self._ranks.items()}
        self._gather(calls, "giving memory back", self._deadline_s)

    def save(self, folder: Path) -> None:
        """Raises CheckpointError where the disk is full, say; training may go on then."""
        self._all("saving", "save", folder.absolute())

    def load(self, folder: Path) -> None:
        self._all("loading", "load", folder.absolute())

    def states(self) -> list[WorkerState]:
        """Ranks do everything together."""
        return [
            WorkerState(
                name,
                self.doing,
                time.monotonic() - self.since,
                1,
                None,
                self._pulse.beat(name),
                self._pulse.age_s(name),
            )
            for name in list(self._ranks)
        ]

    def queues(self) -> Mapping[str, int]:
        """Ranks have none."""
        return {}

    def close(self) -> None:
        for name, actor in self._ranks.items():
            end(actor, self._pulse.beat(name))
        self._pulse.clear()
        self._ranks = {}
        self._places.close()

    def _create(self) -> None:
        rank_class = ray.remote(**OPTIONS)(self.rank_class)
        for rank in range(self._config.cluster.learner_ranks):
            placed = rank_class.options(**self._places.options(rank))
            actor = placed.remote(self._config, rank, self._placement.folder, self._own_devices)
            self._ranks[f"learner rank {rank}"] = actor
            self._pulse.watch(f"learner rank {rank}", actor)
        self._starting = self._start() if len(self._ranks) == 1 else None

    def _take_turn(self) -> None:
        """All ranks are there, and the devices are theirs. Raises WorkerError where they were lost too often."""
        if self._turns is not None:
            self._turns.learn()
        if self._ranks:
            return
        self._count_rebuild(None)
        self._create()
        self.wait_ready()

    def _count_rebuild(self, error: LearnerLostError | None) -> None:
        if self.rebuilds >= self._config.cluster.learner_rebuilds:
            why = "" if error is None else f": {error}"
            raise WorkerError(f"learner: lost again after cluster.learner_rebuilds={self.rebuilds} new starts{why}")
        self.rebuilds += 1

    def _start(self) -> dict[Any, str]:
        if self._on_gpus:  # nothing is loaded before each rank has a device of its own
            devices = {actor.device.remote(): name for name, actor in self._ranks.items()}
            check_devices(self._gather(devices, "starting", self._start_deadline_s))
        if len(self._ranks) == 1:
            return {actor.start.remote(1): name for name, actor in self._ranks.items()}
        call = {self._ranks[FIRST].host_store.remote(): FIRST}
        address, port = self._gather(call, "starting", self._start_deadline_s)[FIRST]
        return {actor.start.remote(len(self._ranks), address, port): name for name, actor in self._ranks.items()}

    def _all(self, what: str, method: str, argument: Any) -> dict[str, Any]:
        self._take_turn()
        calls = {getattr(actor, method).remote(argument): name for name, actor in self._ranks.items()}
        for name in self._ranks if method == "update" else ():
            beat = self._pulse.beat(name)
            self._faults.inject(name, None if beat is None else beat.pid)
        return self._gather(calls, what, self._deadline_s)

    def _gather(self, calls: Mapping[Any, str], what: str, deadline_s: float) -> dict[str, Any]:
        self.doing, self.since = what, time.monotonic()
        try:
            return gather(calls, what, deadline_s, heartbeats=self._pulse, aside=self._aside)
        except CheckpointError:
            ray.wait(list(calls), num_returns=len(calls), timeout=deadline_s)  # the others are done with their part too
            raise
        except UniGRPOError as error:
            lost = error if isinstance(error, DeadlineError) else _lost_rank(calls, what, self._pulse)
            self.close()  # the other ranks may wait in a collective for one that is gone
            if lost is not None:
                raise LearnerLostError(str(lost)) from error
            raise
        finally:
            self.doing, self.since = "idle", time.monotonic()


def _lost_rank(calls: Mapping[Any, str], what: str, pulse: Heartbeats) -> LostWorkerError | None:
    """The rank that is gone, if one is: what the others say of it, a broken connection, names nobody."""
    for lost in pulse.lost(what).values():
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

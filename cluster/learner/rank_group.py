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
from torch import Tensor
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from cluster.actors.device import Device, this_device
from cluster.actors.errors import LostWorkerError
from cluster.actors.faults import FaultPlan
from cluster.actors.heartbeat import OPTIONS, Beating, Pulse, end
from cluster.actors.pool import WorkerState
from cluster.actors.process import enter
from cluster.actors.resources import Placement
from cluster.actors.waiting import Aside, gather, result
from cluster.learner.batch_wire import PackedBatch, pack, unpack
from cluster.learner.one_rank import make_learner
from cluster.learner.parking import Parking
from cluster.learner.places import RankPlaces, check_devices
from cluster.learner.turns import Turns
from cluster.weights.adapters import AdapterWeights, adapter_weights, arrays
from cluster.weights.buckets import layout, stream_digest
from cluster.weights.collective import Outgoing, Transfer, way_for
from cluster.weights.digest import digest, require_finite
from cluster.weights.fingerprint import stream_fingerprint
from cluster.weights.ipc import lend
from policies import lora
from rl.config import Config
from rl.errors import CheckpointError, DeadlineError, LearnerLostError, UniGRPOError, WorkerError
from rl.learner.update import UniGRPOLearner
from rl.types import StepReport, TrainBatch, WeightRef

logger = logging.getLogger(__name__)

FIRST = "learner rank 0"
FAREWELL_S = 5.0  # after one rank failed: for the news of another's death to arrive


class RankActor(Beating):
    """One rank. Its learner exists once ``start`` has run on all of them."""

    def __init__(self, config: Config, rank: int, folder: str) -> None:
        enter(folder, config.run_dir, f"learner rank {rank}")
        self._config, self._rank = config, rank
        self._store: TCPStore | None = None
        self._learner: UniGRPOLearner | None = None
        self._outgoing: Outgoing | None = None
        self._base: str | None = None  # digest of the weights that an adapter is added to, which never change
        self._parking = Parking()
        self._lent: dict[str, Tensor] = {}

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
        self.take_back()
        return self.learner.update(unpack(batch))

    def weights(self) -> Mapping[str, np.ndarray]:
        weights = self.learner.weights()
        return weights if self._rank == 0 else {}

    def publish(self, version: int) -> tuple[WeightRef | None, Mapping[str, np.ndarray] | AdapterWeights]:
        """Rank 0: the weights, or what alone changes in them, under the name of the whole; the other ranks only take part.
        Raises TrainingError for a NaN in them."""
        adapter = self._adapter()
        if self._rank:
            self._take_part()
            return None, {}
        names = [slot.name for slot in layout(self.learner.shapes())]
        # Ray copies what is returned before anything else runs here: where it lies is good enough.
        weights = {name: value.numpy() for name, value in zip(names, self.learner.stream(), strict=True)}
        require_finite(weights, version)
        return WeightRef(version, digest(weights)), weights if adapter is None else adapter

    def _adapter(self) -> AdapterWeights | None:
        if not self._config.learner.lora.on:
            return None
        module = self.learner.policy.module
        with self.learner.engine.whole():
            if self._base is None:
                self._base = digest(arrays(lora.base_state(module)))
            return adapter_weights(module, self._base)

    def digest(self, version: int, on_device: bool) -> str:
        """Rank 0; the others only take part where the weights are parted. on_device: ``cluster.weights.fingerprint``."""
        if self._rank:
            self._take_part()
            return ""
        shapes = layout(self.learner.shapes())
        if on_device:
            return stream_fingerprint(self.learner.stream(moved=False), shapes, version)
        return stream_digest(self.learner.stream(), shapes, version)

    def lend_weights(self) -> tuple[Device, bytes]:
        """Handles of this rank's weights, for workers on its device; they are not changed before ``take_back``."""
        names = [slot.name for slot in layout(self.learner.shapes())]
        self._lent = dict(zip(names, self.learner.stream(moved=False), strict=True))
        return this_device(), lend(self._lent)

    def take_back(self) -> None:
        self._lent = {}

    def sleep(self) -> int:
        """Give the device's memory back until this rank works again; the bytes."""
        return self._parking.park(self._learner, torch.device(self._config.policy.device).type)

    def open_transfer(self, takers: int, timeout_s: float, on_device: bool) -> Transfer:
        """Rank 0: where those who want the weights find it."""
        way = way_for(self.learner.policy.module, on_device)
        self._outgoing = Outgoing(ray.util.get_node_ip_address(), self.learner.shapes(), takers, timeout_s, way)
        return self._outgoing.transfer

    def send_weights(self, *takers_are_ready: bool) -> None:
        """Ray starts this on rank 0 when all of them are: the ranks do not wait for a worker that is still loading."""
        if self._rank:
            return self._take_part()
        assert self._outgoing is not None, "open_transfer comes first"
        outgoing, self._outgoing = self._outgoing, None
        tensors = self.learner.stream(moved=not outgoing.transfer.way.on_device)
        try:
            outgoing.send(tensors)
        finally:  # a worker that is gone must not leave the other ranks waiting in a collective
            for _ in tensors:
                pass

    def _take_part(self) -> None:
        if self.learner.engine.parted:
            for _ in self.learner.stream(moved=False):
                pass

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

    aside: what goes on while the ranks are waited for. turns: with the rollout workers, where they share devices and do not
    work at once. faults: accidents on purpose, of tests.
    """

    rank_class = RankActor

    def __init__(self, config: Config, placement: Placement, faults: FaultPlan | None = None) -> None:
        self._config, self._placement, self._faults = config, placement, faults or FaultPlan()
        self._deadline_s = config.cluster.learner_deadline_s
        self._start_deadline_s = config.cluster.start_deadline_s
        self._pulse = Pulse(config.cluster.heartbeat_s, config.cluster.start_deadline_s)
        self._on_gpus = config.policy.device.startswith("cuda")
        apart = self._on_gpus and placement.learner.get("num_gpus", 0) >= 1  # two ranks of NCCL never share a GPU
        wire = config.cluster.weight_sync
        self._on_device = wire == "ipc" or (wire == "collective" and apart)
        self._places = RankPlaces(config, placement.learner)
        self.aside: Aside | None = None
        self.turns: Turns | None = None
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

    def update(self, batch: TrainBatch) -> StepReport:
        """Rank 0's report: its metrics are sums over all ranks."""
        return self._all("training", "update", ray.put(pack(batch)))[FIRST]

    def weights(self) -> Mapping[str, np.ndarray]:
        """Rank 0's. All are asked, since some engines part the weights."""
        self._take_turn()
        calls = {actor.weights.remote(): name for name, actor in self._ranks.items()}
        return self._gather(calls, "sending weights", self._deadline_s)[FIRST]

    def publish(self, version: int) -> tuple[WeightRef, Any]:
        """The weights' name, and the object ref of them: they go from rank 0 to the object store and from there to whoever
        wants them, not through this process."""
        self._take_turn()
        calls = {name: actor.publish.options(num_returns=2).remote(version) for name, actor in self._ranks.items()}
        named = {refs[0]: name for name, refs in calls.items()}
        return self._gather(named, "publishing weights", self._deadline_s)[FIRST], calls[FIRST][1]

    def digest(self, version: int) -> str:
        """Of rank 0's weights, where they are. Raises TrainingError for a NaN in them."""
        self._take_turn()
        calls = {actor.digest.remote(version, self._on_device): name for name, actor in self._ranks.items()}
        return self._gather(calls, "hashing weights", self._deadline_s)[FIRST]

    def send_weights(self, actors: Sequence[Any], ref: WeightRef) -> list[Any]:
        """Start rank 0 on sending its weights to these rollout workers, all at once; the refs of their calls."""
        timeout_s = max(10.0, 2 * self._config.cluster.heartbeat_s)
        call = self._ranks[FIRST].open_transfer.remote(len(actors), timeout_s, self._on_device)
        transfer = self._gather({call: FIRST}, "sending weights", self._deadline_s)[FIRST]
        ready = [actor.ready.remote() for actor in actors]
        for name, actor in self._ranks.items():  # what becomes of it, the other side tells
            actor.send_weights.remote(*(ready if name == FIRST else ()))
        return [actor.receive_weights.remote(ref, transfer, rank) for rank, actor in enumerate(actors, 1)]

    def lend_weights(self, actors: Sequence[Any], ref: WeightRef) -> list[Any]:
        """Have these rollout workers copy the weights from the rank on their device, all at once; the refs of their calls."""
        calls = {actor.lend_weights.remote(): name for name, actor in self._ranks.items()}
        lent = dict(self._gather(calls, "lending weights", self._deadline_s).values())
        return [actor.copy_weights.remote(ref, lent) for actor in actors]

    def take_back(self) -> None:
        """What was lent is no longer needed: ranks may let go of what they gathered for it."""
        for actor in self._ranks.values():
            actor.take_back.remote()

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
            actor = placed.remote(self._config, rank, self._placement.folder)
            self._ranks[f"learner rank {rank}"] = actor
            self._pulse.watch(f"learner rank {rank}", actor)
        self._starting = self._start() if len(self._ranks) == 1 else None

    def _take_turn(self) -> None:
        """All ranks are there, and the devices are theirs. Raises WorkerError where they were lost too often."""
        if self.turns is not None:
            self.turns.learn()
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
            self._faults.strike(name, None if beat is None else beat.pid)
        return self._gather(calls, what, self._deadline_s)

    def _gather(self, calls: Mapping[Any, str], what: str, deadline_s: float) -> dict[str, Any]:
        self.doing, self.since = what, time.monotonic()
        try:
            return gather(calls, what, deadline_s, hearts=self._pulse, aside=self.aside)
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


def _lost_rank(calls: Mapping[Any, str], what: str, pulse: Pulse) -> LostWorkerError | None:
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

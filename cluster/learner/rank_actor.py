"""One rank of the learner, as an actor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from cluster.actors.device import Device, on_this_machine, this_device
from cluster.actors.heartbeat import HasHeartbeat
from cluster.actors.process import enter
from cluster.learner.batch_wire import WireBatch, from_wire
from cluster.learner.offload import Offload
from cluster.learner.one_rank import make_learner, tensors
from cluster.weights.base import Published, open_wire
from cluster.weights.buckets import open_store
from cluster.weights.payload import Payload
from rl.config import Config
from rl.learner.update import UniGRPOLearner
from rl.types import StepReport


class RankActor(HasHeartbeat):
    """One rank. Its learner exists once ``start`` has run on all of them."""

    def __init__(self, config: Config, rank: int, folder: str, own_device: bool = False) -> None:
        """own_device: this rank has a GPU to itself."""
        enter(folder, config.run_dir, f"learner rank {rank}")
        config = on_this_machine(config)
        self._config, self._rank, self._own_device = config, rank, own_device
        self._store: TCPStore | None = None
        self._learner: UniGRPOLearner | None = None
        self._wire = open_wire(config.cluster.weight_sync)
        self._made_payload: Payload | None = None
        self._memory = Offload(config.policy.device)

    def device(self) -> Device:
        return this_device()

    def host_store(self) -> tuple[str, int]:
        """Rank 0: where the other ranks find it."""
        address = ray.util.get_node_ip_address()
        self._store = open_store(address)
        return address, self._store.port

    def start(self, world_size: int, address: str | None = None, port: int = 0) -> None:
        if self._store is None and address is not None:
            self._store = TCPStore(address, port, is_master=False)
        self._learner = make_learner(self._config, self._rank, world_size, self._store)

    def update(self, batch: WireBatch) -> StepReport:
        self._wire.release()
        return self.learner.update(from_wire(batch))

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
        learner = self.learner  # its memory is back
        if self._made_payload is None:
            lora_on = self._config.learner.lora.on
            self._made_payload = Payload(learner, self._rank, adapter=lora_on, own_device=self._own_device)
        return self._made_payload

    def offload(self) -> int:
        """Give the device's memory back until this rank works again; the bytes."""
        return 0 if self._learner is None else self._memory.offload(tensors(self._learner))

    def save(self, folder: Path) -> None:
        self.learner.save(folder)

    def load(self, folder: Path) -> None:
        self.learner.load(folder)

    @property
    def learner(self) -> UniGRPOLearner:
        assert self._learner is not None, "start comes first"
        self._memory.restore()
        return self._learner

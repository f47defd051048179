"""What travels: all of a policy's weights, or its LoRA adapter alone. One view of both, for every wire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from cluster.weights.adapters import adapter_tensors, arrays
from cluster.weights.buckets import Slot, layout, stream_digest
from cluster.weights.digest import digest
from cluster.weights.fingerprint import stream_fingerprint
from policies import lora
from rl.learner.update import UniGRPOLearner


class Payload:
    """On one rank. All ranks ``collect`` a version first. After that rank 0 reads it, and the other ranks ``take_part`` as
    often, since reading is a collective where an engine shards the weights.

    rank        of this process
    adapter     only the adapter travels: workers loaded the rest themselves
    own_device  this rank shares its GPU with no worker, so that weights may travel from device to device
    """

    def __init__(self, learner: UniGRPOLearner, rank: int, *, adapter: bool, own_device: bool) -> None:
        self.rank, self.adapter = rank, adapter
        self.own_device = own_device and not adapter
        self.base: str | None = None
        """Digest of the weights that the adapter is added to, which never change. None where all weights travel."""
        self._learner = learner
        self._adapter: dict[str, np.ndarray] = {}

    @property
    def module(self) -> torch.nn.Module:
        return self._learner.policy.module

    def collect(self) -> None:
        """On every rank: get hold of what this version is. A collective."""
        if not self.adapter:
            return
        engine, layers = self._learner.engine, [layer for _, layer in lora.adapters(self.module)]
        if self.base is None:
            with engine.whole():
                self.base = digest(arrays(lora.base_state(self.module)))
        with engine.whole(only=[part for layer in layers for part in (layer.lora_a, layer.lora_b)]):
            self._adapter = adapter_tensors(self.module)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        if not self.adapter:
            return self._learner.shapes()
        return {name: value.shape for name, value in self._adapter.items()}

    def slots(self) -> tuple[Slot, ...]:
        """The order of ``stream``: by name."""
        return layout(self.shapes())

    def stream(self, moved: bool = True) -> Iterator[Tensor]:
        """One tensor at a time. moved: float32 on the host; otherwise of the type and on the device that they have."""
        if not self.adapter:
            return self._learner.iter_weights(moved)
        return (torch.from_numpy(self._adapter[name]) for name in sorted(self._adapter))

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it on the host, from where it lies: copy what must outlive the next update."""
        names = [slot.name for slot in self.slots()]
        return {name: value.numpy() for name, value in zip(names, self.stream(), strict=True)}

    def digest(self, version: int, *, on_device: bool = False) -> str:
        """``cluster.weights.digest``, or on_device ``cluster.weights.fingerprint``. Raises TrainingError for a NaN."""
        if on_device:
            return stream_fingerprint(self.stream(moved=False), self.slots(), version)
        return stream_digest(self.stream(), self.slots(), version)

    def take_part(self) -> None:
        """In the gathering of sharded weights for rank 0; nothing where each rank has all that travels."""
        if self.adapter or not self._learner.engine.sharded:
            return
        for _ in self._learner.iter_weights(moved=False):
            pass

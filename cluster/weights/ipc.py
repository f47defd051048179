"""Weights between processes of one device: IPC handles travel, and a worker reads the learner's own memory.

On a GPU these are CUDA's IPC handles, on a CPU names of shared memory: torch's own reductions make both. The owner must
neither change nor free the tensors before the workers are done.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch import Tensor

from cluster.actors.device import Device, this_device
from cluster.actors.errors import TransferError
from cluster.weights.base import Destination, Published, Ranks, WeightWire
from cluster.weights.fingerprint import fingerprint
from cluster.weights.payload import Payload
from rl.errors import WorkerError
from rl.types import WeightRef

SHARE, LET_GO = "share", "let go"


class Ipc(WeightWire):
    """Every rank shares its weights with the workers on its device, until it changes them or ``finish``."""

    def __init__(self) -> None:
        self._shared: dict[str, Tensor] = {}

    def publish(self, payload: Payload, version: int) -> tuple[WeightRef, Any]:
        return WeightRef(version, payload.digest(version, on_device=True)), None

    def deliver(self, ranks: Ranks | None, actors: Sequence[Any], published: Published, body: Any) -> list[Any]:
        assert ranks is not None, "it needs the learner's ranks"
        handles = dict(ranks.ask_all(SHARE))
        return [actor.receive_weights.remote(self.name, published, handles) for actor in actors]

    def serve(self, payload: Payload, request: Any) -> Any:
        if request == LET_GO:
            return self.release()
        names = [slot.name for slot in payload.slots()]
        self._shared = dict(zip(names, payload.stream(moved=False), strict=True))
        return this_device(), share(self._shared)

    def finish(self, ranks: Ranks) -> None:
        """Ranks may let go of what they gathered for it."""
        ranks.start(LET_GO)

    def release(self) -> None:
        self._shared = {}

    def receive(self, destination: Destination, ref: WeightRef, body: Any) -> None:
        copy_shared(handles_here(body, destination.name), destination.targets, ref)


def handles_here(handles: Mapping[Device, bytes], name: str) -> bytes:
    """Of the rank on this process's own device. Raises WorkerError where there is no such rank. name: this worker's."""
    device = this_device()
    if device not in handles:
        where = ", ".join(sorted(f"{each.node} {'/'.join(each.gpus) or 'CPU'}" for each in handles))
        raise WorkerError(
            f"cluster.weight_sync=ipc: {name} has {device.node} {'/'.join(device.gpus) or 'CPU'}, the learner's ranks have "
            f"{where}; set cluster.placement=colocated and as many ranks as GPUs, or cluster.weight_sync=object_store"
        )
    return handles[device]


def share(tensors: Mapping[str, Tensor]) -> bytes:
    """IPC handles of these tensors. On a CPU they move into shared memory, once, and stay what they are to their owner."""
    from torch.multiprocessing import set_sharing_strategy  # importing it registers what ForkingPickler calls

    set_sharing_strategy("file_system")  # names: the other strategy hands over file descriptors, to children alone
    buffer = io.BytesIO()
    ForkingPickler(buffer, pickle.HIGHEST_PROTOCOL).dump(dict(tensors))
    return buffer.getvalue()


@torch.no_grad()
def copy_shared(
    handles: bytes, targets_for: Callable[[Mapping[str, tuple[int, ...]]], Mapping[str, Tensor]], ref: WeightRef
) -> None:
    """Into the tensors that ``targets_for`` gives for names and shapes, cast to their type. Raises TransferError where the
    owner is gone, and WorkerError where they are not what ``ref`` names."""
    try:
        shared: dict[str, Tensor] = pickle.loads(handles)
    except (RuntimeError, OSError) as error:
        raise TransferError(f"weights {ref.version}: the learner's memory cannot be opened: {error}") from error
    found = fingerprint(shared)
    if found != ref.digest:
        raise WorkerError(f"weights {ref.version}: digest {found[:12]}..., expected {ref.digest[:12]}...")
    targets = targets_for({name: tuple(value.shape) for name, value in shared.items()})
    for name, target in targets.items():
        target.copy_(shared[name])
    if any(target.device.type == "cuda" for target in targets.values()):
        torch.cuda.synchronize()  # the owner may change its memory as soon as this returns

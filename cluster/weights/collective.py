"""Weights over a collective, bucket by bucket: gloo between hosts, NCCL between GPUs of their own.

One transfer is a store on the learner's first rank, where the workers meet it, and a process group for this transfer only.
A worker that dies in it breaks this group and no other.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
import torch
from torch import Tensor, nn
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from cluster.actors.errors import TransferError
from cluster.weights.base import Destination, Published, Ranks, WeightWire
from cluster.weights.buckets import HOST, Intake, Slot, Way, layout, open_store, process_group, receive, send
from cluster.weights.fingerprint import fingerprint
from cluster.weights.payload import Payload
from rl.errors import UniGRPOError
from rl.types import WeightRef


@dataclass(frozen=True, slots=True)
class Transfer:
    """Where the sender is, and what comes. size: the sender and all takers."""

    address: str
    port: int
    size: int
    timeout_s: float
    slots: tuple[Slot, ...]
    way: Way


@dataclass(frozen=True, slots=True)
class Open:
    """Asks rank 0 for a transfer to so many workers."""

    takers: int
    timeout_s: float


SEND = "send"


class Outgoing:
    """The sender's side."""

    def __init__(
        self, address: str, shapes: Mapping[str, tuple[int, ...]], takers: int, timeout_s: float, way: Way
    ) -> None:
        self._store = open_store(address)
        self.transfer = Transfer(address, self._store.port, takers + 1, timeout_s, layout(shapes), way)

    def send(self, tensors: Iterable[Tensor]) -> None:
        """tensors: in the order of their names. Raises TransferError where a taker is gone."""
        try:
            transfer = self.transfer
            group = process_group(self._store, 0, transfer.size, transfer.timeout_s, transfer.address, transfer.way)
            send(group, tensors, transfer.slots, way=transfer.way)
        except UniGRPOError:
            raise
        except RuntimeError as error:
            raise TransferError(f"sending weights broke off: {error}") from error


class Collective(WeightWire):
    """``deliver`` opens a transfer on rank 0, has the ranks send, and has the workers receive at the same time."""

    def __init__(self) -> None:
        self._outgoing: Outgoing | None = None

    def publish(self, payload: Payload, version: int) -> tuple[WeightRef, Any]:
        return WeightRef(version, payload.digest(version, on_device=payload.own_device)), None

    def deliver(self, ranks: Ranks | None, actors: Sequence[Any], published: Published, body: Any) -> list[Any]:
        assert ranks is not None, "it needs the learner's ranks"
        transfer = ranks.ask_first(Open(len(actors), ranks.patience_s))
        # The ranks do not wait in a collective for a worker that is still loading.
        ranks.start(SEND, first_waits_for=[actor.ready.remote() for actor in actors])
        return [
            actor.receive_weights.remote(self.name, published, (transfer, rank)) for rank, actor in enumerate(actors, 1)
        ]

    def serve(self, payload: Payload, request: Any) -> Any:
        if isinstance(request, Open):
            return self._open(payload, request)
        return self._send(payload) if payload.rank == 0 else payload.take_part()

    def receive(self, destination: Destination, ref: WeightRef, body: Any) -> None:
        transfer, rank = body
        targets = destination.targets({slot.name: slot.shape for slot in transfer.slots})
        receive_all(transfer, rank, targets, ref)

    def _open(self, payload: Payload, request: Open) -> Transfer:
        address = ray.util.get_node_ip_address()
        way = way_for(payload.module, payload.own_device)
        self._outgoing = Outgoing(address, payload.shapes(), request.takers, request.timeout_s, way)
        return self._outgoing.transfer

    def _send(self, payload: Payload) -> None:
        assert self._outgoing is not None, "a transfer is opened first"
        outgoing, self._outgoing = self._outgoing, None
        tensors = payload.stream(moved=not outgoing.transfer.way.on_device)
        try:
            outgoing.send(tensors)
        finally:  # a worker that is gone must not leave the other ranks waiting in a collective
            for _ in tensors:
                pass


def receive_all(transfer: Transfer, rank: int, targets: Mapping[str, Tensor], ref: WeightRef) -> None:
    """Into these tensors. Raises TransferError, and WorkerError where they are not what ``ref`` names."""
    way = transfer.way
    intake = Intake(targets, transfer.slots, with_digest=not way.on_device, way=way)
    try:
        patience = timedelta(seconds=transfer.timeout_s)
        store = TCPStore(transfer.address, transfer.port, is_master=False, timeout=patience)
        own = own_address(transfer.address, transfer.port)
        group = process_group(store, rank, transfer.size, transfer.timeout_s, own, way)
        receive(group, transfer.slots, intake, way=way)
    except UniGRPOError:
        raise
    except RuntimeError as error:
        raise TransferError(f"weights {ref.version}: the transfer broke off: {error}") from error
    intake.verify(ref, fingerprint(targets) if way.on_device else None)


def way_for(module: nn.Module, on_device: bool) -> Way:
    """From device to device in the type that all tensors share, float32 where they share none; or over the host."""
    if not on_device:
        return HOST
    state = list(module.state_dict().values())
    types = {value.dtype for value in state}
    return Way(state[0].device.type, types.pop() if len(types) == 1 else torch.float32, on_device=True)


def own_address(address: str, port: int) -> str:
    """This machine's, on the way to that one: nothing is sent to find it."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((address, port))
        return way.getsockname()[0]

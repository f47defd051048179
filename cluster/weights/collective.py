"""One transfer of weights: a store on the learner's first rank, where those who want them meet it, and a group for it
alone. A worker that dies in it breaks this group and no other."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from cluster.actors.errors import TransferError
from cluster.weights.buckets import HOST, Intake, Slot, Way, layout, process_group, receive, send
from cluster.weights.fingerprint import fingerprint
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
    way: Way = HOST


class Outgoing:
    """The sender's side. The port is the system's choice, taken at once: nobody can race us."""

    def __init__(
        self, address: str, shapes: Mapping[str, tuple[int, ...]], takers: int, timeout_s: float, way: Way = HOST
    ) -> None:
        self._store = TCPStore(address, 0, is_master=True, wait_for_workers=False)
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


def receive_all(transfer: Transfer, rank: int, module: nn.Module, ref: WeightRef) -> None:
    """Into the module's own memory. Raises TransferError, and WorkerError where they are not what ``ref`` names."""
    way = transfer.way
    intake = Intake(module.state_dict(), transfer.slots, with_digest=not way.on_device, way=way)
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
    intake.verify(ref, fingerprint(module.state_dict()) if way.on_device else None)


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

"""The device that an actor has, and what another process on the same device offers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rl.errors import WorkerError


@dataclass(frozen=True, slots=True)
class Device:
    """What an actor sees of its node. Example: ``Device("10.0.0.7", ("3",))``; no GPU: ``()``."""

    node: str
    gpus: tuple[str, ...]


def this_device() -> Device:
    """Of the actor that asks."""
    import ray

    return Device(ray.util.get_node_ip_address(), tuple(ray.get_runtime_context().get_accelerator_ids().get("GPU", ())))


def beside(handles: Mapping[Device, bytes], name: str) -> bytes:
    """What a rank on the asking actor's own device has to lend. Raises WorkerError where there is no such rank."""
    device = this_device()
    if device not in handles:
        where = ", ".join(sorted(f"{each.node} {'/'.join(each.gpus) or 'CPU'}" for each in handles))
        raise WorkerError(
            f"cluster.weight_sync=ipc: {name} has {device.node} {'/'.join(device.gpus) or 'CPU'}, the learner's ranks have "
            f"{where}; set cluster.placement=colocated and as many ranks as GPUs, or cluster.weight_sync=object_store"
        )
    return handles[device]

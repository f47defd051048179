"""The device that an actor has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """What an actor sees of its node. Example: ``Device("10.0.0.7", ("3",))``; no GPU: ``()``."""

    node: str
    gpus: tuple[str, ...]


def this_device() -> Device:
    """Of the actor that asks."""
    import ray

    return Device(ray.util.get_node_ip_address(), tuple(ray.get_runtime_context().get_accelerator_ids().get("GPU", ())))

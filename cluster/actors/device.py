"""The device that an actor has."""

from __future__ import annotations

from dataclasses import dataclass

from rl.config import Config
from rl.config.device import is_open, resolved


@dataclass(frozen=True, slots=True)
class Device:
    """What an actor sees of its node. Example: ``Device("10.0.0.7", ("3",))``; no GPU: ``()``."""

    node: str
    gpus: tuple[str, ...]


def has_gpu() -> bool:
    """Whether this process sees one."""
    import torch

    return torch.cuda.is_available()


def on_this_machine(config: Config) -> Config:
    """With what ``auto`` stands for here."""
    return resolved(config, has_gpu(), check=False) if is_open(config) else config


def this_device() -> Device:
    """Of the actor that asks."""
    import ray

    return Device(ray.util.get_node_ip_address(), tuple(ray.get_runtime_context().get_accelerator_ids().get("GPU", ())))

"""Seconds of a training step, by part: a roofline (operations or bytes, whichever takes longer) times an efficiency.

A figure of a vendor's is ``arithmetic``; ``unigrpo plan --calibrate`` replaces peak operations and bandwidth of a device
by what it reaches here on one layer's products, which is ``measured``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.plan.memory import WIDTHS, weight_bytes
from cluster.plan.sizes import forward_flops
from policies.network.transformer import TransformerConfig

GPUS_PER_NODE = 8  # which the fast links join
HOST_LINK = 25e9  # bytes a second between a GPU and pinned memory of its host: PCIe 4.0 x16, one way
HOST_MEMORY = 200e9  # bytes a second of a node's memory: 8 channels of DDR4-3200


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU: dense operations a second in bfloat16, bytes a second of its memory, of the link to its neighbours (one
    way) and of the network. Vendors' data sheets; the network is 400 Gbit/s a GPU (200 for the older ones)."""

    name: str
    memory: float
    flops: float
    bandwidth: float
    link: float
    network: float
    measured: bool = False


DEVICES: Mapping[str, Device] = {
    device.name: device
    for device in (
        Device("a100", 80e9, 312e12, 2.04e12, 300e9, 25e9),
        Device("l40s", 48e9, 362e12, 0.864e12, 32e9, 12.5e9),
        Device("h100", 80e9, 989e12, 3.35e12, 450e9, 50e9),
        Device("h200", 141e9, 989e12, 4.8e12, 450e9, 50e9),
        Device("b200", 180e9, 2250e12, 8.0e12, 900e9, 50e9),
    )
}


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Shares of the roofline that code reaches. Assumed, typical of plain PyTorch on one device; 1.0 is the roofline."""

    sampler: float = 0.4
    learner: float = 0.4
    wire: float = 0.6


@dataclass(frozen=True, slots=True)
class Sampler:
    """How one kind of rollout is sampled. passes: forward passes of a group (guidance counts twice). share: of prompts."""

    task: str
    share: float
    length: int
    scored: int
    passes: int
    codes: int = 0


def pass_seconds(config: TransformerConfig, device: Device, dtype: str, rows: int, length: int, scored: float) -> float:
    """One forward pass over ``rows`` sequences at the roofline: arithmetic, or one read of all weights."""
    arithmetic = rows * forward_flops(config, length, scored) / (device.flops * 2 / WIDTHS[dtype])
    return max(arithmetic, weight_bytes(config, dtype) / device.bandwidth)


def group_seconds(config: TransformerConfig, device: Device, dtype: str, sampler: Sampler, group: int) -> float:
    """A group of rollouts as one batch, at the roofline."""
    return sampler.passes * pass_seconds(config, device, dtype, group, sampler.length, sampler.scored)


def update_seconds(
    config: TransformerConfig,
    device: Device,
    dtype: str,
    sampler: Sampler,
    *,
    mu: int,
    kl: bool,
    checkpointing: bool,
    frozen: bool = False,
    passes: int = 1,
) -> float:
    """One rollout on one rank, over all mu inner updates, at the roofline: old and reference log-probabilities are a
    forward pass each, but for the first update's old ones; an update is three (four with checkpointing). Half of the response
    is masked on average.

    frozen: weights beside an adapter, whose own gradient, one of the three, is not made. passes: of one estimate
    """
    peak = device.flops * 2 / WIDTHS[dtype]
    forward = forward_flops(config, sampler.length, sampler.codes / 2 or sampler.scored / 2) / peak
    before = mu - 1 + mu * kl
    return passes * forward * (mu * (3 - frozen + checkpointing) + before)


def reduce_seconds(trained: int, device: Device, ranks: int, updates: int) -> float:
    """Gradients of ``trained`` parameters in float32 added up over the ranks, a ring each update: 2 (n - 1) / n times
    their bytes over one link."""
    if ranks == 1:
        return 0.0
    link = device.link if ranks <= GPUS_PER_NODE else device.network
    return updates * 2 * (ranks - 1) / ranks * trained * 4 / link


def sync_seconds(trained: int, device: Device) -> float:
    """Weights once over the network in float32, as the learner hands them out; nodes read at the same time."""
    return trained * 4 / device.network


def turn_seconds(rank: Mapping[str, float], worker_weights: float) -> float:
    """With ``cluster.take_turns``: a rank's lasting memory to the host and back, and a worker's weights to the device."""
    lasting = sum(rank[part] for part in ("weights", "gradients", "AdamW", "reference"))
    return (2 * lasting + worker_weights) / HOST_LINK


def offload_seconds(trained: int, dtype: str, ranks: int, updates: int) -> float:
    """With ``learner.offload_optimizer``: a rank's gradients to the host and its weights back, and AdamW there, which
    reads and writes 16 bytes a parameter in the memory that the ranks of a node share."""
    share = trained / ranks
    link = share * (4 + WIDTHS[dtype]) / HOST_LINK
    return updates * (link + share * 32 * min(ranks, GPUS_PER_NODE) / HOST_MEMORY)


def rounds(groups: int, workers: int) -> int:
    """Groups that the busiest worker samples."""
    return math.ceil(groups / workers)

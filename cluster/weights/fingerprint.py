"""A digest of weights that is made where they are: a GPU reads its memory once, and only a number a tensor comes to the host.

Hashing an 8B policy takes a core seconds, and the way to the host comes on top. This is for the wires between devices,
and against accidents, not against enemies: any one changed element changes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from cluster.weights.buckets import Slot
from rl.errors import TrainingError

CHUNK = 1 << 22  # elements at a time: 32 MiB each of the two int64 temporaries
_ODD = -7046029254386353131  # 2**64 / golden ratio, odd, as a signed number
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def fingerprint(tensors: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 (hex) over each tensor's name, type, shape and sum, in the order of the names. Pairs come in that order."""
    pairs = sorted(tensors.items()) if isinstance(tensors, Mapping) else tensors
    sha = hashlib.sha256()
    for name, tensor in pairs:
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {_sum(tensor)}\n".encode())
    return sha.hexdigest()


def stream_fingerprint(tensors: Iterable[Tensor], slots: Sequence[Slot], version: int) -> str:
    """Of a stream of tensors in the order of ``slots``. Raises TrainingError for a NaN in it."""

    def finite() -> Iterator[tuple[str, Tensor]]:
        for slot, tensor in zip(slots, tensors, strict=True):
            if not torch.isfinite(tensor).all():
                raise TrainingError(f"weights {version}: {slot.name} holds a NaN or an infinity; they are not served")
            yield slot.name, tensor

    return fingerprint(finite())


@torch.no_grad()
def _sum(tensor: Tensor) -> int:
    """Sum of bits times an odd number of the place, modulo 2**64: a change of one element adds a product of a number below
    2**64 with an odd one, which is 0 only where nothing changed."""
    flat = tensor.detach().contiguous().flatten()
    bits = flat.view(_BITS[flat.element_size()])
    total = torch.zeros((), dtype=torch.int64, device=flat.device)
    for low in range(0, len(bits), CHUNK):
        part = bits[low : low + CHUNK].to(torch.int64)
        places = torch.arange(low, low + len(part), device=flat.device)
        total += places.mul_(2).add_(1).mul_(_ODD).mul_(part).sum()
    return int(total)

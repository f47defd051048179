"""Counter-based noise: a number depends on (seed, step, position, stream) alone, never on what else is in the batch.

The mixer is SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014), applied to each part of the counter in turn.
It runs on any device in int64, whose arithmetic wraps as the algorithm needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)

TOKEN, ORDER = 0, 1  # streams: which token to write, and in which order to reveal


def uniforms(seeds: Sequence[int] | Tensor, step: int, positions: Tensor, stream: int = TOKEN) -> Tensor:
    """seeds [B], positions [B, M] or [M] int64 -> [B, M] float64 in (0, 1)."""
    device = positions.device
    state = torch.as_tensor(seeds, dtype=torch.int64, device=device)[:, None]
    state = _mix(state + _GOLDEN)
    state = _mix(state ^ mixed(step * 8 + stream))
    state = _mix(state ^ _mix(positions.to(torch.int64) * _GOLDEN + _GOLDEN))
    bits = (state >> 11) & ((1 << 53) - 1)
    return (bits.to(torch.float64) + 0.5) * 2.0**-53


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise from uniforms."""
    return -torch.log(-torch.log(uniform))


def mixed(number: int) -> int:
    """``_mix(number + golden)`` on the host, as a signed 64-bit integer: a GPU need not be sent a number to mix."""
    x = (number + _GOLDEN) % (1 << 64)
    x = (x ^ (x >> 30)) * _MIX_1 % (1 << 64)
    x = (x ^ (x >> 27)) * _MIX_2 % (1 << 64)
    x ^= x >> 31
    return x - (1 << 64) if x >> 63 else x


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift right: torch's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)

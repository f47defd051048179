"""Unmasking schedules: how many tokens a step reveals.

Counts are whole numbers, so that the originals' rounding decides: theirs is in single precision, and so is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from policies.samplers import UNMASKING
from rl.registry import Takes, part
from rl.types import ImageSampling

DREAM_EPS = 1e-3


@dataclass(frozen=True, slots=True)
class TextSchedule:
    """How many tokens each denoising step of a text reveals.

    counts  masks, steps -> how many of the masks each step reveals; the last step reveals all that are left
    shares  steps -> the chance that a step reveals a mask, for a remasking rule that decides on each mask alone
    """

    counts: Callable[[int, int], list[int]] = field(metadata=part(Takes(2)))
    shares: Callable[[int], list[float]] = field(metadata=part(Takes(1)))


def uniform_counts(masks: int, steps: int) -> list[int]:
    """As even as can be, the remainder in the first steps (LLaDA's ``get_num_transfer_tokens``; SDAR and LLaDA2 alike)."""
    base, remainder = divmod(masks, steps)
    return [base + (step < remainder) for step in range(steps)]


def uniform_shares(steps: int) -> list[float]:
    """Chances with which equally many masks are revealed at each step, on average."""
    return [1 / (steps - step) for step in range(steps)]


def dream_shares(steps: int) -> list[float]:
    """1 - s/t, from t to s: times fall from 1 to 0.001 in equal steps (Dream's ``diffusion_generate``)."""
    times = torch.linspace(1, DREAM_EPS, steps + 1, dtype=torch.float32)
    return [*(1 - times[1:] / times[:-1])[:-1].tolist(), 1.0]


def dream_counts(masks: int, steps: int) -> list[int]:
    """The share of the masks that are left, rounded down: 32 tokens in 8 steps are 3, 4, 4, 4, 4, 4, 4, 5."""
    counts, left = [], masks
    for share in dream_shares(steps):
        counts.append(int(_product(left, share)))
        left -= counts[-1]
    return counts


UNIFORM = TextSchedule(uniform_counts, uniform_shares)
DREAM = TextSchedule(dream_counts, dream_shares)


def cosine(time: float) -> float:
    """MaskGIT (arXiv 2202.04200, section 3.3): few codes at first, many at the end."""
    return float(torch.cos(_single(time) * math.pi * 0.5))


def linear(time: float) -> float:
    """As many codes at each step."""
    return float(1 - _single(time))


def masked_counts(length: int, sampling: ImageSampling) -> list[int]:
    """Codes still masked after each step: it falls with every step where it can, and ends at 0."""
    counts, left, still_masked = [], length, UNMASKING[sampling.schedule]
    for step in range(1, sampling.steps + 1):
        share = still_masked(step / sampling.steps)
        left = 0 if step == sampling.steps else max(min(math.floor(_product(length, share)), left - 1), 0)
        counts.append(left)
    return counts


def order_noise(sampling: ImageSampling) -> list[float]:
    """Scale of the noise on the order at each step. MMaDA multiplies it by 1 - k/T at step k of T: it falls as a product."""
    scales, scale = [], sampling.remask_temperature
    for step in range(1, sampling.steps + 1):
        scale *= 1 - step / sampling.steps
        scales.append(scale)
    return scales


def _product(count: int, share: float) -> float:
    return float(_single(count) * _single(share))


def _single(number: float) -> torch.Tensor:
    return torch.tensor(number, dtype=torch.float32)

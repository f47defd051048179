"""What the sum over a rollout's scored tokens is divided by, by name. It imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rl.registry import Registry, Takes, part

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Normalizer:
    """What the sum over a rollout's scored tokens is divided by.

    divisor       (mask [B, L] bool, lengths [B] or None: L, normalizer_length or None) -> [B]
    by_tokens     rollouts count by their tokens in the mean
    needs_length  it reads ``normalizer_length``
    """

    divisor: Callable[[Tensor, Tensor | None, int | None], Tensor] = field(metadata=part(Takes(3)))
    by_tokens: bool = False
    needs_length: bool = False


def _scored(mask: Tensor, lengths: Tensor | None, constant: int | None) -> Tensor:
    return mask.sum(1).clamp(min=1)


def _length(mask: Tensor, lengths: Tensor | None, constant: int | None) -> Tensor:
    return mask.sum(1).fill_(mask.shape[1]) if lengths is None else lengths.clamp(min=1)


def _constant(mask: Tensor, lengths: Tensor | None, constant: int | None) -> Tensor:
    return mask.sum(1).fill_(constant or mask.shape[1])


NORMALIZERS: Registry[Normalizer] = Registry(
    "normalizer",
    {
        # M_i, its scored tokens (arXiv 2505.15809, equation 4)
        "masked": Normalizer(_scored),
        # |o_i|, its tokens (equation 5)
        "length": Normalizer(_length),
        # M_i, with rollouts weighted by their length: all tokens of a batch count the same (DAPO, arXiv 2503.14476)
        "token_mean": Normalizer(_scored, by_tokens=True),
        # normalizer_length, the same for all: no bias by length (Dr. GRPO, arXiv 2503.20783)
        "constant": Normalizer(_constant, needs_length=True),
    },
    group="unigrpo.normalizers",
    member=Normalizer,
)

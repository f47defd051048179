"""AdamW whose two moments take a byte a number each: 2.03 bytes a parameter in place of 8 (arXiv 2110.02861).

Numbers are kept in blocks of 256 of the flattened tensor: a float32 scale, and a code each. Codes are dynamic: seven
decades, of which the upper ones are the finer (section 1.3 of the paper). What differs from the paper:

* The second moment is kept as its root. Both moments then have the same range, so that none is lost where the other is
  not: a root that is rounded to 0 under a moment that is not would make a step of m / eps. A root above 0 is never
  rounded to 0.
  Nor is a step ever longer than AdamW's could be: the first moment is held within what the second allows.
* What a step writes is rounded up or down at random, so that its mean is right, with noise that depends on the step and
  the place alone. Rounded to the nearest code, a moment that falls by less than half the distance of two codes, as one
  of a weight without gradient does, would never fall.
* The largest code is 1 on both sides of 0, so that a block's extreme is exact. To expand and to compress again thus
  changes nothing: checkpoints hold plain float32 moments, as AdamW's do, and a run that goes on is equal bit for bit
  in the same layout. In another one the blocks are others, and the moments are rounded once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from policies.noise import uniforms

BLOCK = 256
CHUNK = 2**12 * BLOCK  # numbers that are worked on at once: what is temporary stays small beside the state
_DECADES = 7
_STEP, _FIRST, _ROOT = "step", "exp_avg", "exp_avg_sq"  # the names that AdamW gives them
_SCALE = "_scale"


class AdamW8bit(Optimizer):
    """``torch.optim.AdamW`` but for the rounding of what is kept between steps. Arithmetic is in float32."""

    def __init__(
        self, params: Any, lr: float, betas: tuple[float, float], weight_decay: float = 0.0, eps: float = 1e-8
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        pairs = [(parameter, group) for group in self.param_groups for parameter in group["params"]]
        for number, (parameter, group) in enumerate(pairs):
            if parameter.grad is not None:
                self._step_one(parameter, parameter.grad, group, number)

    def _step_one(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], number: int) -> None:
        state = self.state[parameter]
        if not state:
            state |= _empty(parameter)
        state[_STEP] += 1
        weights, gradient, step = parameter.detach().view(-1), gradient.reshape(-1), int(state[_STEP])
        for first in range(0, len(weights), CHUNK):
            here = slice(first, min(first + CHUNK, len(weights)))
            moments = [_Kept(state, key, here) for key in (_FIRST, _ROOT)]
            places = torch.arange(here.start, here.stop, device=weights.device)
            noise = uniforms([number], step, places)[0]
            _update(weights[here], gradient[here].float(), moments, noise, step, group)


class _Kept:
    """One chunk of one moment in the state."""

    def __init__(self, state: dict[str, Any], key: str, here: slice) -> None:
        blocks = slice(here.start // BLOCK, -(-here.stop // BLOCK))
        self.codes, self.scales = state[key].view(-1)[here], state[key + _SCALE][blocks]
        self.signed = key == _FIRST

    def read(self) -> Tensor:
        return dequantize(self.codes, self.scales, self.signed)

    def write(self, values: Tensor, noise: Tensor) -> None:
        codes, scales = quantize(values, self.signed, noise)
        self.codes.copy_(codes)
        self.scales.copy_(scales)


def _update(
    weights: Tensor, gradient: Tensor, kept: Sequence[_Kept], noise: Tensor, step: int, group: dict[str, Any]
) -> None:
    """AdamW (arXiv 1711.05101, algorithm 2) of one chunk, in place. noise: float64 in (0, 1), one a number: its first
    bits round one moment, and the rest, which do not depend on them, the other."""
    (beta1, beta2), lr = group["betas"], group["lr"]
    first, root = (each.read() for each in kept)
    first.lerp_(gradient, 1 - beta1)
    root.square_().mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2).sqrt_()
    limit = root * _longest(beta1, beta2)
    first.clamp_(-limit, limit)
    kept[0].write(first, noise.float())
    kept[1].write(root, (noise * 2**24 % 1.0).float())
    moved = weights.float().mul_(1 - lr * group["weight_decay"])
    denominator = root.div_((1 - beta2**step) ** 0.5).add_(group["eps"])
    weights.copy_(moved.addcdiv_(first, denominator, value=-lr / (1 - beta1**step)))


def _longest(beta1: float, beta2: float) -> float:
    """AdamW's first moment is at most this times the second's root, by Cauchy and Schwarz; rounding can break it."""
    kept = 1 - beta1**2 / beta2
    return (1 - beta1) / ((1 - beta2) * kept) ** 0.5 if kept > 0 and beta2 < 1 else float("inf")


def quantize(values: Tensor, signed: bool, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """[n] float32 -> codes [n] uint8 and a scale for each 256 of them, ceil(n / 256) float32: the largest magnitude.

    noise  [n] in (0, 1): rounds up where it is below the distance to the code beneath, of 1 between two codes. None: to
           the nearest
    Without ``signed``, values are 0 or more, and one above 0 keeps a code above 0.
    """
    levels = _levels(signed, values.device)
    blocks = _blocks(values)
    scales = blocks.abs().amax(1)
    shares = (blocks / torch.where(scales > 0, scales, 1.0)[:, None]).view(-1)[: len(values)]
    if noise is None:
        codes = torch.bucketize(shares, (levels[1:] + levels[:-1]) / 2)
    else:
        codes = torch.bucketize(shares, levels, right=True) - 1
        beneath, above = levels[codes], levels[(codes + 1).clamp(max=len(levels) - 1)]
        codes += shares - beneath > noise * (above - beneath)
    if not signed:
        codes = torch.where(values > 0, codes.clamp(min=1), codes)
    return codes.to(torch.uint8), scales


def _blocks(values: Tensor) -> Tensor:
    return torch.nn.functional.pad(values, (0, -len(values) % BLOCK)).view(-1, BLOCK)


def dequantize(codes: Tensor, scales: Tensor, signed: bool) -> Tensor:
    """codes [n] uint8, scales [ceil(n / 256)] -> [n] float32."""
    values = _levels(signed, codes.device)[codes.int()]
    return values.mul_(scales.repeat_interleave(BLOCK)[: len(values)])


@cache
def _levels(signed: bool, device: torch.device) -> Tensor:
    """What the codes stand for, in order: 255 levels from -1 or 0 to 1.

    Decade i of seven goes to 10^(i-6), in 2^i even steps, or in 2^(i+1) where no code is spent on the sign.
    """
    ends = [10.0 ** (i + 1 - _DECADES) for i in range(_DECADES)]
    steps = [2 ** (i if signed else i + 1) for i in range(_DECADES)]
    above = torch.cat(
        [torch.linspace(0.1, 1.0, n + 1, dtype=torch.float64)[1:] * end for end, n in zip(ends, steps, strict=True)]
    )
    below = [-above.flip(0)] if signed else []
    return torch.cat([*below, above.new_zeros(1), above]).float().to(device)


@contextmanager
def plain_moments(optimizer: Optimizer) -> Iterator[None]:
    """In this block the optimizer's state is that of AdamW, float32, to be read or replaced; of others it always is."""
    inner = getattr(optimizer, "inner", optimizer)
    if not isinstance(inner, AdamW8bit):
        yield
        return
    for parameter, state in inner.state.items():
        inner.state[parameter] = _expanded(state)
    try:
        yield
    finally:
        for parameter, state in inner.state.items():
            inner.state[parameter] = _compressed(state)


def _empty(parameter: Tensor) -> dict[str, Tensor]:
    """All moments 0, without a float32 of them: an engine may have all weights in one parameter, and to compress a moment of
    that size takes 30 bytes a number for a moment."""
    where = parameter.device
    packed = {_STEP: torch.zeros((), dtype=torch.float32)}
    for key in (_FIRST, _ROOT):
        code = int(quantize(torch.zeros(1), key == _FIRST)[0])
        packed[key] = torch.full(parameter.shape, code, dtype=torch.uint8, device=where)
        packed[key + _SCALE] = torch.zeros(-(-parameter.numel() // BLOCK), device=where)
    return packed


def _expanded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    plain = {_STEP: state[_STEP]}
    for key in (_FIRST, _ROOT):
        values = dequantize(state[key].view(-1), state[key + _SCALE], key == _FIRST)
        plain[key] = (values if key == _FIRST else values.square_()).view(state[key].shape)
    return plain


def _compressed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    packed = {_STEP: state[_STEP]}
    for key in (_FIRST, _ROOT):
        values = state[key].reshape(-1)
        codes, packed[key + _SCALE] = quantize(values if key == _FIRST else values.sqrt(), key == _FIRST)
        packed[key] = codes.view(state[key].shape)
    return packed

"""The back-ends of torch's scaled_dot_product_attention beside each other, in the shapes of our passes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.speed.gpu.card import Card
from benchmarks.speed.gpu.found import Found
from benchmarks.speed.gpu.predicted import attention_flops
from benchmarks.speed.gpu.work import LARGE

CHOICES: dict[str, SDPBackend | None] = {
    "default": None,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}


def back_ends(card: Card) -> Found:
    """Forward; with a mask, as padded prompts have; and forward with backward, as a learner's. A back-end that does not take
    a shape says so, and the others go on."""
    config = card.work.models[LARGE].config
    measured, more, failed, rate = {}, {}, {}, {}
    for batch, queries, keys in card.work.attended:
        shape = f"{batch} x {queries} x {keys}"
        q, k, v = _inputs(card, batch, config.n_heads, queries, keys, config.head_size)
        mask = torch.ones(batch, 1, 1, keys, dtype=torch.bool, device=card.device)
        mask[:, :, :, 0] = False
        sides: dict[str, Callable[[], object]] = {
            "": partial(attend, q, k, v),
            ", masked": partial(attend, q, k, v, mask),
            ", with gradient": partial(_with_gradient, q, k, v),
        }
        for choice, back_end in CHOICES.items():
            for suffix, side in sides.items():
                name = f"{shape}, {choice}{suffix}"
                try:
                    with _only(back_end):
                        seconds = card.seconds(side)
                except RuntimeError as error:
                    failed[name] = str(error).splitlines()[0]
                    continue
                (more if suffix else measured)[name] = seconds
                if not suffix:
                    rate[name] = (
                        attention_flops(batch, config.n_heads, queries, keys, config.head_size) / seconds / 1e12
                    )
    return Found(measured, {"seconds": more, "tflops": rate}, failed=failed)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _with_gradient(q: Tensor, k: Tensor, v: Tensor) -> None:
    q, k, v = (each.detach().requires_grad_() for each in (q, k, v))
    F.scaled_dot_product_attention(q, k, v).sum().backward()


def _only(back_end: SDPBackend | None) -> AbstractContextManager[Any]:
    return nullcontext() if back_end is None else sdpa_kernel(back_end)


def _inputs(card: Card, batch: int, heads: int, queries: int, keys: int, size: int) -> list[Tensor]:
    generator = torch.Generator(card.device).manual_seed(2)
    return [
        torch.randn(batch, heads, length, size, device=card.device, generator=generator).to(card.dtype)
        for length in (queries, keys, keys)
    ]

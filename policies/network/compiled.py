"""``policy.compile``: what surrounds a layer's attention, compiled by torch.

Two parts of a layer are compiled: from its input to queries, keys and values, and from attention's output to the layer's.
Norms, rotation, gate and residuals then run with the products around them, not as kernels of their own. Attention is a
fused kernel already, caches are written in place, and the last layer works on a number of rows that changes with every
step: these stay as they are. All layers share one compiled program, so the first pass takes seconds, not minutes.

For samplers alone. A learner's passes with and without gradients would be two programs that round differently, and its
first ratios must be 1.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch

COMPILERS = ("g++", "clang++", "c++")


@cache
def compiled(part: Callable[..., Any]) -> Callable[..., Any]:
    """One program for all layers, and for sequences of any length and number."""
    return torch.compile(part)


def compile_layers(module: torch.nn.Module, on: bool = True) -> None:
    """From the next pass on. The values are the same but for rounding."""
    for layer in module.modules():
        if hasattr(layer, "compiled"):
            layer.compiled = on  # pyright: ignore[reportArgumentType]


def is_compiled(module: torch.nn.Module) -> bool:
    return any(getattr(layer, "compiled", False) for layer in module.modules())


def missing(device: str) -> str | None:
    """What torch.compile needs on this machine and does not find; None: nothing."""
    if torch.device(device).type == "cuda":
        return None if find_spec("triton") else "triton, which comes with torch for GPUs"
    return None if any(map(shutil.which, COMPILERS)) else f"C++ compiler ({', '.join(COMPILERS)})"

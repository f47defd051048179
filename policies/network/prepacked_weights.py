"""Linear layers with their weights packed once, for the many passes that a sampler makes over the same weights.

A float32 matrix product on a CPU first copies the weight into the order that its kernel reads. oneDNN can keep that copy
(what torch's own compiler does for a frozen model). With AVX-512, 128 to 1,536 rows, and width 384, that saves an eighth to a
sixth of a rollout's time. With AVX2 alone it costs up to two fifths (``docs/performance.md``): plain products are another
library's there, and stay. The products are the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from policies.network.compiled import is_compiled

_OPS: Any = torch.ops.mkldnn  # torch's own, but not documented: where they are missing, nothing is packed


@contextmanager
def packed(module: nn.Module) -> Iterator[None]:
    """Where it is faster, the float32 linear layers on a CPU read packed copies of the weights that they have now.

    For inference alone: no gradient passes. The copies are dropped at the end, so that no pass sees stale weights.
    """
    wanted = _available() and _faster() and not is_compiled(module)  # a compiler does not see through what packs
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)] if wanted else []
    layers = [layer for layer in linear if _can_pack(layer)]
    try:
        for layer in layers:
            layer.__dict__["forward"] = _PackedLinear(layer)  # what the instance has comes before its class
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def is_packed(layer: nn.Module) -> bool:
    """Whether the layer reads a packed copy of its weight."""
    return isinstance(layer.__dict__.get("forward"), _PackedLinear)


class _PackedLinear:
    def __init__(self, layer: nn.Linear) -> None:
        self.weight = _OPS._reorder_linear_weight(layer.weight.detach())
        self.bias = None if layer.bias is None else layer.bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        return _OPS._linear_pointwise(x, self.weight, self.bias, "none", [], "")


def _available() -> bool:
    named = hasattr(_OPS, "_reorder_linear_weight") and hasattr(_OPS, "_linear_pointwise")
    return named and torch.backends.mkldnn.is_available() and not torch.is_grad_enabled()


def _faster() -> bool:
    return "AVX512" in torch.backends.cpu.get_cpu_capability()


def _can_pack(layer: nn.Linear) -> bool:
    """Plain linear layers: a subclass, or one that is packed already, is left as it is."""
    if type(layer) is not nn.Linear or "forward" in layer.__dict__:
        return False
    return layer.weight.device.type == "cpu" and layer.weight.dtype is torch.float32

"""Parts of a layer that keep their inputs for the gradient and nothing of what they make on the way.

Left alone, torch keeps the normalised states beside the states, and SiLU's output beside its input: a quarter of a layer's
activations, for arithmetic that costs a hundredth of its products. Values and gradients are torch's own, bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``torch.nn.functional.rms_norm`` over the last dimension."""
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _RMSNorm.apply(x, weight, eps)  # pyright: ignore[reportReturnType]
    return F.rms_norm(x, weight.shape, weight, eps)


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up. Without gradients it overwrites ``gate``'s activation: on a CPU a new tensor of this size costs
    more than its product."""
    if torch.is_grad_enabled() and (gate.requires_grad or up.requires_grad):
        return _Gated.apply(gate, up)  # pyright: ignore[reportReturnType]
    return F.silu(gate).mul_(up)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return F.rms_norm(x, weight.shape, weight, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = (value.detach().requires_grad_(wanted) for value, wanted in _wanted(ctx))
        wanted = [value for value in (x, weight) if value.requires_grad]
        with torch.enable_grad():
            made = F.rms_norm(x, weight.shape, weight, ctx.eps)
        found = iter(torch.autograd.grad(made, wanted, grad))
        return *(next(found) if value.requires_grad else None for value in (x, weight)), None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate) * up

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (gate, wants_gate), (up, wants_up) = _wanted(ctx)
        by_gate = torch.ops.aten.silu_backward(grad * up, gate) if wants_gate else None
        return by_gate, grad * F.silu(gate) if wants_up else None


def _wanted(ctx: Any) -> zip[tuple[Tensor, bool]]:
    """What was kept, and whether its gradient is asked for."""
    return zip(ctx.saved_tensors, ctx.needs_input_grad, strict=False)

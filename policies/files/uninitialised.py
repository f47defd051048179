"""Modules whose parameters have memory and no values yet: these come from a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from rl.errors import PolicyError

M = TypeVar("M", bound=nn.Module)


def empty_module(make: Callable[[], M], dtype: torch.dtype, device: str | torch.device) -> M:
    """What ``make`` makes, on the meta device first, then with memory on ``device``. Raises what ``with_memory`` does."""
    return with_memory(outline(make), dtype, device)


def outline(make: Callable[[], M]) -> M:
    """What ``make`` makes, without memory: for questions about names and shapes."""
    with torch.device("meta"), _Uninitialised():
        return make()


def with_memory(module: M, dtype: torch.dtype, device: str | torch.device) -> M:
    """An outline, changed in place: its parameters have memory on ``device`` and are of ``dtype``.

    Buffers keep their dtype: they are few, and what a router adds to its scores is finer than half precision. Raises
    PolicyError where there is not so much memory.
    """
    try:
        return _with_memory(module, dtype, device)
    except (RuntimeError, MemoryError) as error:  # torch raises its own kind of the first
        size = sum(value.numel() for value in module.parameters()) * dtype.itemsize
        if isinstance(error, RuntimeError) and "memory" not in str(error) and "storage size" not in str(error):
            raise
        raise PolicyError(
            f"weights of {size / (1 << 30):,.1f} GiB have no room on {device}; take a smaller policy, or a larger machine"
        ) from error


def _with_memory(module: M, dtype: torch.dtype, device: str | torch.device) -> M:
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            part.register_parameter(name, nn.Parameter(torch.empty(value.shape, dtype=dtype, device=device)))
        for name, value in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, torch.empty(value.shape, dtype=value.dtype, device=device))
    return module


def sketch_module(make: Callable[[], M]) -> M:
    """What ``make`` makes, with shapes and addresses of its own for every parameter, and memory for one number of each:
    for questions about names and sizes."""
    with torch.device("meta"), _Uninitialised():
        module = make()
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            part.register_parameter(
                name, nn.Parameter(torch.empty(1, dtype=value.dtype, device="cpu").expand(value.shape))
            )
    return module


class _Uninitialised(TorchFunctionMode):
    """Layers draw random values when they are made. On the meta device that costs seconds, for nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)

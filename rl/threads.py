"""Floating-point sums depend on the number of threads, so each kind of work always has its own number (law 1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """``with torch_threads(2): ...``; what was set before comes back, whoever else lives in this process."""
    import torch  # here, so that what imports this module stays light

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

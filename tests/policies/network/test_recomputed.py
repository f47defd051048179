"""What is made again for the gradient: torch's own values and gradients, bit for bit, and less that is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from policies.network.recomputed import gated, rms_norm

EPS = 1e-5
PAIRS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "norm": (lambda x, w: rms_norm(x, w, EPS), lambda x, w: F.rms_norm(x, w.shape, w, EPS)),
    "gate": (gated, lambda x, y: F.silu(x) * y),
}


def inputs(name: str, rows: int, size: int, seed: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(rows, size, generator=generator, dtype=dtype) * 3 for _ in range(2))
    return first, second[0] if name == "norm" else second


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", PAIRS)
@settings(deadline=None)
@given(rows=st.integers(1, 9), size=st.integers(1, 70), seed=st.integers(0, 99), wanted=st.sampled_from([1, 2, 3]))
def test_values_and_gradients_are_torchs_own(
    name: str, dtype: torch.dtype, rows: int, size: int, seed: int, wanted: int
) -> None:
    """wanted: bits of which of the two inputs have a gradient; a frozen weight has none."""
    found = []
    for function in PAIRS[name]:
        first, second = inputs(name, rows, size, seed, dtype)
        made = function(first.requires_grad_(bool(wanted & 1)), second.requires_grad_(bool(wanted & 2)))
        made.backward(torch.linspace(-1, 2, made.numel(), dtype=dtype).view_as(made))
        found.append([made.detach(), first.grad, second.grad])
    for ours, torchs in zip(*found, strict=True):
        assert (ours is None) == (torchs is None)
        assert ours is None or torch.equal(ours, torchs)


@pytest.mark.parametrize("name", PAIRS)
def test_less_is_kept(name: str) -> None:
    kept = []
    for function in PAIRS[name]:
        storages: dict[int, int] = {}

        def note(tensor: Tensor, storages: dict[int, int] = storages) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            function(*(value.requires_grad_() for value in inputs(name, 64, 256, 0, torch.float32)))
        kept.append(sum(storages.values()))
    assert kept[0] <= 0.7 * kept[1]


@pytest.mark.parametrize("name", PAIRS)
def test_without_gradients_the_inputs_stay(name: str) -> None:
    first, second = inputs(name, 5, 8, 1, torch.float32)
    copies = first.clone(), second.clone()
    with torch.no_grad():
        made = PAIRS[name][0](first, second)
    assert torch.equal(made, PAIRS[name][1](first, second))
    assert torch.equal(first, copies[0]) and torch.equal(second, copies[1])

"""Packed weights: the same products, the weights of the moment, and nothing left behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import policies.network.prepacked_weights
from policies.network.prepacked_weights import is_packed, packed


@pytest.fixture(autouse=True, params=[True, False], ids=["packed", "plain"])
def faster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """On any processor, as on those where it is faster and on the others."""
    monkeypatch.setattr(policies.network.prepacked_weights, "_faster", lambda: request.param)
    return request.param


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 40), nn.SiLU(), nn.Linear(40, 8, bias=False)).requires_grad_(False)


@pytest.mark.parametrize("rows", [(1,), (7,), (2, 33)])
@torch.inference_mode()
def test_products_are_the_same(rows: tuple[int, ...], faster: bool) -> None:
    module, x = network(), torch.randn(*rows, 24)
    expected = module(x)
    with packed(module):
        assert [is_packed(layer) for layer in module] == [faster, False, faster]
        torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-6 if faster else 0)
    assert torch.equal(module(x), expected)


@torch.no_grad()
def test_weights_are_those_of_the_moment() -> None:
    module, x = network(), torch.randn(3, 24)
    last = module[2]
    assert isinstance(last, nn.Linear)
    with packed(module):
        before = module(x)
    last.weight.mul_(2)
    with packed(module):
        torch.testing.assert_close(module(x), 2 * before)


@torch.no_grad()
def test_nothing_is_left_behind_by_an_error() -> None:
    module = network()
    with pytest.raises(RuntimeError, match="stop"), packed(module):
        raise RuntimeError("stop")
    assert all("forward" not in layer.__dict__ for layer in module)


@torch.no_grad()
def test_an_inner_one_leaves_the_outer_one_alone() -> None:
    module, x = network(), torch.randn(3, 24)
    with packed(module):
        outer = module[0].__dict__.get("forward")
        with packed(module):
            assert module[0].__dict__.get("forward") is outer
        assert module[0].__dict__.get("forward") is outer
        module(x)


def test_where_gradients_flow_nothing_is_packed() -> None:
    module = network().requires_grad_(True)
    with packed(module):
        module(torch.randn(3, 24)).sum().backward()
    assert module[0].weight.grad is not None


@torch.no_grad()
def test_other_precisions_are_left_alone() -> None:
    module = network().to(torch.bfloat16)
    with packed(module):
        assert all("forward" not in layer.__dict__ for layer in module)


@torch.no_grad()
@pytest.mark.parametrize(("capability", "packs"), [("AVX2", False), ("AVX512", True), ("DEFAULT", False)])
def test_weights_are_copied_only_where_that_is_faster(
    monkeypatch: pytest.MonkeyPatch, capability: str, packs: bool
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    module = network()
    with packed(module):
        assert is_packed(module[0]) == packs

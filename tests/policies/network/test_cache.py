"""Block-causal attention, and the key-value cache that is exact under it."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.network.cache import KeyValueCache
from policies.network.experts import ExpertsConfig, SparseExperts
from policies.network.transformer import Transformer, TransformerConfig
from tests.toys import toy_policy

PLAIN = TransformerConfig(vocab_size=50, d_model=16, n_layers=3, n_heads=4, mlp_hidden_size=24, rope_theta=100.0)
SPARSE = ExpertsConfig(
    count=8, per_token=2, hidden_size=8, shared=1, groups=4, groups_per_token=2, scale=2.5, first_layer=1
)
CONFIG = dataclasses.replace(
    PLAIN, n_kv_heads=2, head_dim=6, rotary_dim=4, qk_norm=True, block_length=4, experts=SPARSE
)


@cache
def make(config: TransformerConfig = CONFIG, seed: int = 0) -> Transformer:
    generator = torch.Generator().manual_seed(seed)
    module = Transformer(config)
    module.reset_parameters(generator)
    with torch.no_grad():
        for value in module.state_dict().values():
            value += 0.1 * torch.randn(value.shape, generator=generator)
    return module.eval().requires_grad_(False)


def ids(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 50, shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 11), st.integers(12, 20))
def test_a_token_sees_its_block_and_those_before_it(seed, changed, length):
    module, before = make(), ids(1, length, seed=seed)
    after = before.clone()
    after[0, changed] = (after[0, changed] + 1) % 50
    moved = (module(before) - module(after)).abs().amax(-1)[0]
    first = changed // 4 * 4
    # An expert's batch may have grown, which moves the last bits of all that is in it.
    assert (moved[:first] < 1e-5).all() and (moved[first:] > 0).all() and moved[changed] > 1e-3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 3), max_size=3), st.integers(1, 9), st.integers(1, 3))
def test_with_a_cache_states_are_those_without(seed, settled, length, batch):
    """Whatever is settled in whatever portions, and however much follows: also within a block and over several."""
    module, cache, start = make(), KeyValueCache(3), 0
    sequence = ids(batch, 4 * sum(settled) + length, seed=seed)
    for blocks in settled:
        module.extend(sequence[:, start : start + 4 * blocks], cache)
        start += 4 * blocks
    whole = module(sequence)[:, start:]
    torch.testing.assert_close(module(sequence[:, start:], cache=cache), whole, atol=1e-5, rtol=1e-4)
    rows = torch.rand(whole.shape[:2], generator=torch.Generator().manual_seed(seed)) < 0.5
    rows[:, -1] = True
    torch.testing.assert_close(module(sequence[:, start:], rows=rows, cache=cache), whole[rows], atol=1e-5, rtol=1e-4)
    assert cache.length == start


def test_a_prompt_is_settled_once_for_its_group_and_members_may_leave():
    module, prompt = make(), KeyValueCache(3)
    sequence = torch.cat([ids(1, 8).expand(3, -1), ids(3, 8, seed=1)], dim=1)
    module.extend(sequence[:1, :8], prompt)
    group = prompt.repeat(3)
    module.extend(sequence[:, 8:12], group)
    left = group.select(torch.tensor([2, 0]))
    states = module(sequence[[2, 0], 12:], cache=left)
    torch.testing.assert_close(states, module(sequence)[[2, 0], 12:], atol=1e-5, rtol=1e-4)
    assert (prompt.length, group.length) == (8, 12)


def test_padding_is_not_attended_to():
    module, attention = make(), torch.ones(2, 15, dtype=torch.bool)
    sequence = ids(2, 15)
    attention[0, 9:] = False
    padded = module(sequence, attention)
    torch.testing.assert_close(padded[:1, :9], module(sequence[:1, :9]), atol=1e-5, rtol=1e-4)
    assert padded.isfinite().all()
    rows = torch.zeros_like(attention)
    rows[0, 7:9], rows[1, 3] = True, True
    torch.testing.assert_close(module(sequence, attention, rows), padded[rows], atol=1e-5, rtol=1e-4)


def test_shifted_states_are_those_of_the_position_before():
    module = make(dataclasses.replace(PLAIN, shifted=True))
    plain = Transformer(PLAIN)
    plain.load_state_dict(module.state_dict())
    sequence, rows = ids(2, 9), torch.rand(2, 9, generator=torch.Generator().manual_seed(0)) < 0.6
    rows[:, :2] = True
    states = plain(sequence)
    shifted = torch.cat([states[:, :1], states[:, :-1]], 1)
    assert torch.equal(module(sequence), shifted)
    torch.testing.assert_close(module(sequence, rows=rows), shifted[rows], atol=1e-5, rtol=1e-4)


def test_grouped_heads_are_repeated_heads():
    """With the rows of each key-value head repeated, an ungrouped model computes the same."""
    grouped = make(dataclasses.replace(PLAIN, n_kv_heads=2))
    plain = Transformer(PLAIN)
    weights = grouped.state_dict()
    for name, value in weights.items():
        if "k_proj" in name or "v_proj" in name:
            weights[name] = value.unflatten(0, (2, 4)).repeat_interleave(2, 0).flatten(0, 1)
    plain.load_state_dict(weights)
    attention = torch.ones(2, 7, dtype=torch.bool)
    attention[0, 5:] = False
    for mask in (None, attention):
        torch.testing.assert_close(grouped(ids(2, 7), mask), plain(ids(2, 7), mask), atol=1e-5, rtol=1e-4)


def test_a_tied_head_is_the_embedding():
    module = make(dataclasses.replace(PLAIN, tied_head=True))
    hidden = torch.randn(3, 16)
    torch.testing.assert_close(module.head(hidden), hidden @ module.wte.weight.T)
    torch.testing.assert_close(module.head(hidden, 7, 5), hidden @ module.wte.weight[7:12].T)
    torch.testing.assert_close(module.head(hidden, 7, 5), hidden @ module.head_weight(7, 5).T)
    assert "ff_out.weight" not in module.state_dict()


def test_experts_are_chosen_and_weighed_as_the_paper_says():
    """Token by token in NumPy, from DeepSeek-V3's section 2.1.2, with groups of two experts."""
    generator = torch.Generator().manual_seed(0)
    layer = SparseExperts(6, SPARSE)
    for value in layer.state_dict().values():
        value.copy_(torch.randn(value.shape, generator=generator))
    tokens = torch.randn(5, 6, generator=generator)
    w = {name: value.double().numpy() for name, value in layer.state_dict().items()}

    def mlp(x, gate, up, down):
        hidden = gate @ x
        return down @ (hidden / (1 + np.exp(-hidden)) * (up @ x))

    shared = (w[f"shared.{part}_proj.weight"] for part in ("gate", "up", "down"))
    gate, up, down = shared
    expected = []
    for x in tokens.double().numpy():
        scores = 1 / (1 + np.exp(-(w["router.weight"] @ x)))
        biased = scores + w["expert_bias"]
        groups = np.argsort(-biased.reshape(4, 2).sum(1))[:2]
        allowed = [expert for expert in range(8) if expert // 2 in groups]
        chosen = sorted(allowed, key=lambda expert: -biased[expert])[:2]
        total = sum(scores[expert] for expert in chosen)
        parts = [
            scores[e] / total * 2.5 * mlp(x, w["gate_proj"][e], w["up_proj"][e], w["down_proj"][e]) for e in chosen
        ]
        expected.append(sum(parts) + mlp(x, gate, up, down))
    np.testing.assert_allclose(layer(tokens).detach().numpy(), np.array(expected), atol=1e-3, rtol=1e-4)


def test_gradients_reach_router_and_chosen_experts_and_not_the_balancing_bias():
    layer = SparseExperts(6, SPARSE)
    for value in layer.state_dict().values():
        value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
    tokens = torch.randn(3, 6, generator=torch.Generator().manual_seed(2))
    layer(tokens).sum().backward()
    chosen = set(layer.route(tokens)[0].flatten().tolist())
    assert layer.router.weight.grad is not None and layer.router.weight.grad.abs().sum() > 0
    assert layer.down_proj.grad is not None
    assert {expert for expert in range(8) if layer.down_proj.grad[expert].abs().sum() > 0} == chosen
    assert not layer.expert_bias.requires_grad


def test_a_policy_that_sees_all_has_no_cache():
    from rl.errors import PolicyError

    policy = toy_policy()
    assert policy.block_length is None
    with pytest.raises(PolicyError, match="attends to the whole sequence"):
        policy.new_cache()
    with pytest.raises(ValueError, match="not whole blocks"):
        policy.extend(ids(1, 4), KeyValueCache(2))

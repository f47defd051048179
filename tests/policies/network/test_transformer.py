"""The transformer against an independent definition, and the shortcuts against the plain computation."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.network.transformer import Transformer, TransformerConfig
from tests.toys import toy_policy

CONFIG = TransformerConfig(vocab_size=50, d_model=16, n_layers=2, n_heads=2, mlp_hidden_size=24, rope_theta=100.0)


def make() -> Transformer:
    module = Transformer(CONFIG)
    module.reset_parameters(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.0 if parameter.dim() > 1 else 1.1)
    return module


def reference_logits(module: Transformer, token_ids: np.ndarray) -> np.ndarray:
    """One sequence in NumPy float64, position by position, head by head, from the papers' formulas."""
    weights = {name: value.detach().double().numpy() for name, value in module.state_dict().items()}

    def norm(x, gain):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + CONFIG.rms_norm_eps) * gain

    def rotated(x):
        half = x.shape[-1] // 2
        frequency = CONFIG.rope_theta ** (-np.arange(half) * 2 / x.shape[-1])
        out = np.empty_like(x)
        for position in range(len(x)):
            turn = np.exp(1j * position * frequency) * (x[position, :half] + 1j * x[position, half:])
            out[position, :half], out[position, half:] = turn.real, turn.imag
        return out

    x = weights["wte.weight"][token_ids]
    for layer in range(CONFIG.n_layers):
        w = {name.split(".", 2)[2]: value for name, value in weights.items() if name.startswith(f"blocks.{layer}.")}
        h = norm(x, w["attn_norm.weight"])
        size = CONFIG.d_model // CONFIG.n_heads
        heads = []
        for head in range(CONFIG.n_heads):
            part = slice(head * size, (head + 1) * size)
            q, k, v = (h @ w[f"{name}_proj.weight"][part].T for name in "qkv")
            scores = rotated(q) @ rotated(k).T / np.sqrt(size)
            share = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(share / share.sum(-1, keepdims=True) @ v)
        x = x + np.concatenate(heads, -1) @ w["attn_out.weight"].T
        h = norm(x, w["ff_norm.weight"])
        gate = h @ w["ff_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w["up_proj.weight"].T)) @ w["ff_out.weight"].T
    return norm(x, weights["ln_f.weight"]) @ weights["ff_out.weight"].T


def test_logits_equal_the_formulas():
    module = make().double()
    module._rope = None
    token_ids = np.random.default_rng(0).integers(0, 50, 9)
    got = module.head(module(torch.from_numpy(token_ids)[None]))[0].detach().numpy()
    # The rotary tables are float32, as in the released code.
    np.testing.assert_allclose(got, reference_logits(module, token_ids), atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 12))
def test_selected_rows_equal_the_whole(seed, batch, length):
    generator = torch.Generator().manual_seed(seed)
    token_ids = torch.randint(0, 50, (batch, length), generator=generator)
    rows = torch.rand(batch, length, generator=generator) < 0.4
    rows[:, 0] = True
    module = make()
    whole = module(token_ids)[rows]
    torch.testing.assert_close(module(token_ids, rows=rows), whole, atol=1e-5, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 10), st.integers(1, 10), st.integers(1, 3))
def test_padding_and_batch_mates_do_not_change_a_sequence(seed, length, padding, mates):
    generator = torch.Generator().manual_seed(seed)
    module = make()
    token_ids = torch.randint(0, 50, (1 + mates, length + padding), generator=generator)
    attention = torch.ones(token_ids.shape, dtype=torch.bool)
    attention[0, length:] = False
    alone = module.head(module(token_ids[:1, :length]))
    padded = module.head(module(token_ids, attention))[:1, :length]
    torch.testing.assert_close(padded, alone, atol=1e-4, rtol=1e-4)
    rows = torch.zeros_like(attention)
    rows[:, 0] = True
    rows[0, length - 1] = True
    selected = module.head(module(token_ids, attention, rows))[int(length > 1)]
    torch.testing.assert_close(selected, alone[0, length - 1], atol=1e-4, rtol=1e-4)


def test_attention_is_bidirectional():
    policy = toy_policy()
    token_ids = torch.arange(10)[None] + 20
    changed = token_ids.clone()
    changed[0, -1] += 1
    difference = (policy.logits(token_ids) - policy.logits(changed))[0, 0].abs().max()
    assert difference > 1e-4


def test_the_image_head_is_the_codebook_part_of_the_whole():
    policy = toy_policy()
    hidden = torch.randn(3, 32)
    offset, count = policy.vocabulary.image_offset, policy.vocabulary.codebook_size
    torch.testing.assert_close(
        policy.head(hidden, image=True), policy.head(hidden, image=False)[:, offset : offset + count]
    )

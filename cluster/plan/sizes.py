"""A transformer's numbers from its sizes alone: parameters, arithmetic and what a backward pass keeps. No weights.

Counts are exact for the layers of ``policies/network/transformer.py``; operations count a multiply-add as two, and leave out
norms, rotations and softmax, which take under 1% of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from policies.network.transformer import TransformerConfig


@dataclass(frozen=True, slots=True)
class Layer:
    """Parameters of one layer: all of them, and those that a token passes through (fewer with experts)."""

    total: int
    active: int


def layer(config: TransformerConfig, index: int) -> Layer:
    """Attention, norms, and the MLP or its experts."""
    d, size = config.d_model, config.head_size
    wide, narrow = config.n_heads * size, config.kv_heads * size
    own = 2 * d * wide + 2 * d * narrow + 2 * d
    own += (wide + 2 * narrow) * config.qkv_bias + d * config.out_bias + 2 * size * config.qk_norm
    experts = config.experts
    if experts is None or index < experts.first_layer:
        own += 3 * d * config.mlp_hidden_size
        return Layer(own, own)
    one = 3 * d * experts.hidden_size
    fixed = own + d * experts.count + experts.shared * one
    return Layer(fixed + experts.count * one, fixed + experts.per_token * one)


def parameters(config: TransformerConfig) -> int:
    """All weights, as a checkpoint holds them. Example: LLaDA-8B has 8,015,581,184."""
    layers = sum(layer(config, index).total for index in range(config.n_layers))
    return layers + config.d_model + _table(config) * (1 if config.tied_head else 2)


def forward_flops(config: TransformerConfig, length: int, scored: float) -> float:
    """One pass over a sequence of ``length`` tokens, with logits at ``scored`` of them."""
    active = sum(layer(config, index).active for index in range(config.n_layers))
    attention = 4 * length * config.n_heads * config.head_size * config.n_layers
    return length * (2 * active + attention) + scored * 2 * _table(config)


def saved_numbers(config: TransformerConfig) -> int:
    """Numbers that one layer keeps of one token for its gradient: the input of each operation, once.

    Two norms keep their input and their output each (the first input is the residual that is there anyway); attention
    keeps queries, keys and values after rotation, its output and a row of sums; SwiGLU keeps both halves and their
    product (``policies.network.recomputed``).
    """
    d, size = config.d_model, config.head_size
    wide, narrow = config.n_heads * size, config.kv_heads * size
    mlp = config.mlp_hidden_size
    if config.experts is not None:
        mlp = config.experts.hidden_size * (config.experts.per_token + config.experts.shared)
    return 4 * d + 2 * wide + 2 * narrow + 3 * mlp


def _table(config: TransformerConfig) -> int:
    return config.vocab_size * config.d_model

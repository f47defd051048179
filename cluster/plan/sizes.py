"""A transformer's numbers from its sizes alone: parameters, arithmetic and what a backward pass keeps. No weights.

Counts are exact for the layers of ``policies/network/transformer.py``; operations count a multiply-add as two, and leave out
norms, rotations and softmax, which take under 1% of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter (arXiv 2106.09685): ``parameters`` of its own, beside layers of ``beside`` frozen weights.

    target   names of the layers in a block that have one
    ranks    of all its layers, added up: numbers that it keeps of a token for its gradient
    """

    parameters: int
    beside: int
    target: frozenset[str]
    ranks: int


def adapter(config: TransformerConfig, rank: int, target: Sequence[str]) -> Adapter:
    """Beside each layer of ``target`` in each block: A [rank, in] and B [out, rank]. Experts have no adapters."""
    found = [
        ends
        for index in range(config.n_layers)
        for name, ends in linear_layers(config, index).items()
        if name in target
    ]
    return Adapter(
        sum(rank * (into + out) for into, out in found),
        sum(into * out for into, out in found),
        frozenset(target),
        rank * len(found),
    )


def linear_layers(config: TransformerConfig, index: int) -> Mapping[str, tuple[int, int]]:
    """The inputs and outputs of each linear layer of a block, but for experts'."""
    d, wide, narrow = config.d_model, config.n_heads * config.head_size, config.kv_heads * config.head_size
    found = {"q_proj": (d, wide), "k_proj": (d, narrow), "v_proj": (d, narrow), "attn_out": (wide, d)}
    if config.experts is None or index < config.experts.first_layer:
        mlp = config.mlp_hidden_size
        found |= {"ff_proj": (d, mlp), "up_proj": (d, mlp), "ff_out": (mlp, d)}
    return found


def parameters(config: TransformerConfig) -> int:
    """All weights, as a checkpoint holds them. Example: LLaDA-8B has 8,015,581,184."""
    layers = sum(layer(config, index).total for index in range(config.n_layers))
    return layers + config.d_model + _table(config) * (1 if config.tied_head else 2)


def forward_flops(config: TransformerConfig, length: int, scored: float) -> float:
    """One pass over a sequence of ``length`` tokens, with logits at ``scored`` of them."""
    active = sum(layer(config, index).active for index in range(config.n_layers))
    attention = 4 * length * config.n_heads * config.head_size * config.n_layers
    return length * (2 * active + attention) + scored * 2 * _table(config)


def saved_numbers(config: TransformerConfig, beside: Adapter | None = None) -> int:
    """Numbers that one layer keeps of one token for its gradient: the input of each operation, once.

    Two norms keep their input and their output each (the first input is the residual that is there anyway); attention
    keeps queries, keys and values after rotation, its output and a row of sums; SwiGLU keeps both halves and their
    product (``policies.network.recomputed``). A frozen product keeps no input; with an adapter beside it, it does.
    """
    d, size, mlp = config.d_model, config.head_size, _mlp(config)
    wide, narrow = config.n_heads * size, config.kv_heads * size
    kept = 4 * d + 2 * wide + 2 * narrow + 3 * mlp
    if beside is None:
        return kept
    for inputs, readers in ((d, {"q_proj", "k_proj", "v_proj"}), (d, {"ff_proj", "up_proj"}), (mlp, {"ff_out"})):
        kept -= 0 if beside.target & readers else inputs
    return kept + beside.ranks // config.n_layers


def backward_numbers(config: TransformerConfig) -> int:
    """Numbers of one token that a layer's backward pass holds at once: the gradients of SwiGLU's three parts and of the
    states before and after the layer."""
    return 2 * config.d_model + 3 * _mlp(config)


def _mlp(config: TransformerConfig) -> int:
    if config.experts is None:
        return config.mlp_hidden_size
    return config.experts.hidden_size * (config.experts.per_token + config.experts.shared)


def _table(config: TransformerConfig) -> int:
    return config.vocab_size * config.d_model


def streams(config: TransformerConfig) -> int:
    """Copies of a sequence that a scoring pass goes over: block-causal policies see a noisy and a clean one."""
    return 1 if config.block_length is None else 2

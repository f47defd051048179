"""A family's own names for our tensors, as one mapping that loading and saving share."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from policies.network.transformer import Transformer

# Name in the file -> our tensors which, laid end to end along their first dimension, are the tensor of that name.
# Example, LLaDA2: "model.layers.0.attention.query_key_value.weight" -> [q_proj.weight, k_proj.weight, v_proj.weight].
Tensors = dict[str, list[Tensor]]


def prefixed(module: Transformer, prefix: str) -> Tensors:
    """Our names behind a prefix: LLaDA and MMaDA, whose names ours follow."""
    return {prefix + name: [value] for name, value in module.state_dict().items()}


def renamed(module: Transformer, top: Mapping[str, str], layer: Mapping[str, str], layers: str) -> Tensors:
    """Ours by tables. Parts whose new names are equal are fused, in the order of the tables; a part that neither
    table has is left out.

    top     embedding, last norm and head: ours -> theirs
    layer   parts of a block: ours -> theirs
    layers  prefix of a block, such as ``model.layers``
    """
    found: Tensors = {}
    state = module.state_dict()
    for ours, theirs in top.items():
        for kind in ("weight", "bias"):
            if f"{ours}.{kind}" in state:
                found.setdefault(f"{theirs}.{kind}", []).append(state[f"{ours}.{kind}"])
    for index in range(module.config.n_layers):
        for ours, theirs in layer.items():
            for kind in ("weight", "bias"):
                value = state.get(f"blocks.{index}.{ours}.{kind}")
                if value is not None:
                    found.setdefault(f"{layers}.{index}.{theirs}.{kind}", []).append(value)
    return found

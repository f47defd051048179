"""What families grown from Qwen share: the names of its config and of its weights (arXiv 2412.15115, 2505.09388)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.base import Vocabulary
from policies.families.rope import rope_theta
from policies.families.settings import flag, number, require, shown, whole, whole_or_none
from policies.families.tensor_names import Tensors, renamed
from policies.network.transformer import Transformer, TransformerConfig
from rl.errors import PolicyError

TOP = {"wte": "model.embed_tokens", "ln_f": "model.norm", "ff_out": "lm_head"}
LAYER = {
    "attn_norm": "input_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
    "attn_out": "self_attn.o_proj",
    "ff_norm": "post_attention_layernorm",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
}
HEAD = ("lm_head.weight", "model.embed_tokens.weight")
FIXED = {"hidden_act": "silu", "use_sliding_window": False}
# Where config.json does not say: of the released configuration_dream.py and configuration_sdar.py.
MAX_POSITIONS, RMS_NORM_EPS, KEY_VALUE_HEADS, ROPE_THETA = 32_768, 1e-6, 32, 10_000.0


def sizes(
    config: Mapping[str, Any], *, max_positions: int = MAX_POSITIONS, eps: float = RMS_NORM_EPS, **own: Any
) -> TransformerConfig:
    """max_positions, eps: where the config does not say. own: what the family sets beside the names that all share."""
    require(config, FIXED)
    _require_full_attention(config)
    heads = whole(config, "num_attention_heads")
    shared = "num_key_value_heads"
    return TransformerConfig(
        vocab_size=whole(config, "vocab_size"),
        d_model=whole(config, "hidden_size"),
        n_layers=whole(config, "num_hidden_layers"),
        n_heads=heads,
        n_kv_heads=whole_or_none(config, shared) if shared in config else KEY_VALUE_HEADS,
        mlp_hidden_size=whole(config, "intermediate_size"),
        max_sequence_length=whole(config, "max_position_embeddings", max_positions),
        rope_theta=rope_theta(config, ROPE_THETA),
        rms_norm_eps=number(config, "rms_norm_eps", eps),
        tied_head=flag(config, "tie_word_embeddings"),
        **own,
    )


def _require_full_attention(config: Mapping[str, Any]) -> None:
    """transformers 5 writes a type for each layer."""
    types = config.get("layer_types")
    if types is not None and (not isinstance(types, list) or any(each != "full_attention" for each in types)):
        raise PolicyError(f"config.json: layer_types={shown(types)}: allowed: full_attention in every layer")


def vocabulary(config: Mapping[str, Any], mask_id: int, eos_id: int) -> Vocabulary:
    size = config["vocab_size"]
    return Vocabulary(size, mask_id, eos_id, image_offset=size, codebook_size=0)


def tensors(module: Transformer) -> Tensors:
    return renamed(module, TOP, LAYER, "model.layers")

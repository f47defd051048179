"""What families grown from Qwen share: the names of its config and of its weights (arXiv 2412.15115, 2505.09388)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.base import Vocabulary
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
FIXED = {"hidden_act": "silu", "rope_scaling": None, "use_sliding_window": False}


def sizes(config: Mapping[str, Any], **own: Any) -> TransformerConfig:
    """``own``: what the family sets beside the names that all share."""
    for name, only in FIXED.items():
        if config.get(name, only) != only:
            raise PolicyError(
                f"config.json: {name}={config[name]!r}: allowed: {only!r}, as in the released checkpoints"
            )
    return TransformerConfig(
        vocab_size=config["vocab_size"],
        d_model=config["hidden_size"],
        n_layers=config["num_hidden_layers"],
        n_heads=config["num_attention_heads"],
        n_kv_heads=config["num_key_value_heads"],
        mlp_hidden_size=config["intermediate_size"],
        max_sequence_length=config["max_position_embeddings"],
        rope_theta=float(config["rope_theta"]),
        rms_norm_eps=config["rms_norm_eps"],
        tied_head=config.get("tie_word_embeddings", False),
        **own,
    )


def vocabulary(config: Mapping[str, Any], mask_id: int, eos_id: int) -> Vocabulary:
    size = config["vocab_size"]
    return Vocabulary(size, mask_id, eos_id, image_offset=size, codebook_size=0)


def tensors(module: Transformer) -> Tensors:
    return renamed(module, TOP, LAYER, "model.layers")

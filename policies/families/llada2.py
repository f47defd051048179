"""LLaDA2.0-mini and LLaDA2.1-mini (arXiv 2512.15745): block-causal, a mixture of experts in Ling's layout, text only.

Blocks of 32 tokens counted from the first token of the prompt; queries, keys and values come from one fused tensor;
queries and keys are normalised, and the first half of each head is rotated. The config names neither a mask nor an
end-of-text token: those of the released tokenizer are the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.base import Vocabulary
from policies.families import llada, qwen
from policies.families.registry import Family
from policies.families.tensor_names import Tensors, renamed
from policies.network.experts import ExpertsConfig
from policies.network.transformer import Transformer, TransformerConfig
from policies.samplers import DRAWN
from policies.samplers.habits import Habits
from rl.errors import PolicyError

MASK_ID, EOS_ID = 156895, 156892
BLOCK_LENGTH = 32
FIXED = {"score_function": "sigmoid", "use_qk_norm": True, "norm_topk_prob": True, "use_rmsnorm": True}

TOP = {"wte": "model.word_embeddings", "ln_f": "model.norm", "ff_out": "lm_head"}
LAYER = {
    "attn_norm": "input_layernorm",
    "q_proj": "attention.query_key_value",
    "k_proj": "attention.query_key_value",
    "v_proj": "attention.query_key_value",
    "q_norm": "attention.query_layernorm",
    "k_norm": "attention.key_layernorm",
    "attn_out": "attention.dense",
    "ff_norm": "post_attention_layernorm",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
    "experts.router": "mlp.gate",
    "experts.shared.gate_proj": "mlp.shared_experts.gate_proj",
    "experts.shared.up_proj": "mlp.shared_experts.up_proj",
    "experts.shared.down_proj": "mlp.shared_experts.down_proj",
}


def sizes(config: Mapping[str, Any]) -> TransformerConfig:
    for name, only in FIXED.items():
        if config.get(name, only) != only:
            raise PolicyError(
                f"config.json: {name}={config[name]!r}: allowed: {only!r}, as in the released checkpoints"
            )
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return qwen.sizes(
        config,
        head_dim=head_dim,
        rotary_dim=int(head_dim * config.get("partial_rotary_factor", 1.0)),
        qk_norm=True,
        qkv_bias=config.get("use_qkv_bias", False),
        out_bias=config.get("use_bias", False),
        block_length=config.get("block_size") or BLOCK_LENGTH,
        experts=ExpertsConfig(
            count=config["num_experts"],
            per_token=config["num_experts_per_tok"],
            hidden_size=config["moe_intermediate_size"],
            shared=config.get("num_shared_experts") or 0,
            groups=config["n_group"],
            groups_per_token=config["topk_group"],
            scale=config["routed_scaling_factor"],
            first_layer=config["first_k_dense_replace"],
        ),
    )


def vocabulary(config: Mapping[str, Any], text_size: int) -> Vocabulary:
    return qwen.vocabulary(config, config.get("mask_token_id", MASK_ID), config.get("eos_token_id", EOS_ID))


def tensors(module: Transformer) -> Tensors:
    found = renamed(module, TOP, LAYER, "model.layers")
    state = module.state_dict()
    assert module.config.experts is not None
    for layer in range(module.config.experts.first_layer, module.config.n_layers):
        ours, theirs = f"blocks.{layer}.experts", f"model.layers.{layer}.mlp"
        found[f"{theirs}.gate.expert_bias"] = [state[f"{ours}.expert_bias"]]
        for part in ("gate_proj", "up_proj", "down_proj"):
            for index, expert in enumerate(state[f"{ours}.{part}"]):
                found[f"{theirs}.experts.{index}.{part}.weight"] = [expert]
    return found


# The checkpoints' modeling_llada2_moe.py: ``generate``.
HABITS = Habits(confidence=DRAWN, mask_counts=True, whole_rank=True, turn_end="<|role_end|>")

FAMILY = Family("llada2_moe", sizes, vocabulary, tensors, llada.layout, habits=HABITS)

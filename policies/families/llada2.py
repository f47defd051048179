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
from policies.families.card import Card
from policies.families.registry import Family
from policies.families.rope import partial_rotary_factor
from policies.families.settings import COPY, flag, number, require, whole, whole_or_none
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
HEAD = ("lm_head.weight", "model.word_embeddings.weight")
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
    """Where the config does not say, as in the released configuration_llada2_moe.py."""
    require(config, FIXED)
    head_dim = whole_or_none(config, "head_dim") or whole(config, "hidden_size") // whole(config, "num_attention_heads")
    return qwen.sizes(
        {**config, "num_key_value_heads": whole(config, "num_key_value_heads")},
        max_positions=16_384,
        eps=1e-5,
        head_dim=head_dim,
        rotary_dim=int(head_dim * partial_rotary_factor(config, 0.5)),
        qk_norm=True,
        qkv_bias=flag(config, "use_qkv_bias"),
        out_bias=flag(config, "use_bias", True),
        block_length=whole_or_none(config, "block_size") or BLOCK_LENGTH,
        experts=_experts(config),
    )


def _experts(config: Mapping[str, Any]) -> ExpertsConfig:
    experts = ExpertsConfig(
        count=whole(config, "num_experts", 16),
        per_token=whole(config, "num_experts_per_tok", 2),
        hidden_size=whole(config, "moe_intermediate_size"),
        shared=0 if config.get("num_shared_experts") is None else whole(config, "num_shared_experts"),
        groups=whole(config, "n_group", 8),
        groups_per_token=whole(config, "topk_group", 4),
        scale=number(config, "routed_scaling_factor", 2.5),
        first_layer=whole(config, "first_k_dense_replace", 0),
    )
    in_groups = experts.groups_per_token * (experts.count // experts.groups)
    if experts.count % experts.groups or experts.groups_per_token > experts.groups or experts.per_token > in_groups:
        raise PolicyError(
            f"config.json: {experts.count} experts in n_group={experts.groups} groups, topk_group="
            f"{experts.groups_per_token}, num_experts_per_tok={experts.per_token}: groups must be equal, and those chosen "
            f"must hold enough experts; {COPY}"
        )
    return experts


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

_SHAPE = {"max_new_tokens": 2048, "block_length": BLOCK_LENGTH, "steps": 2048}
CARD = Card(
    evaluation={"text": {**_SHAPE, "temperature": 0.0}},
    rollout={"text": {**_SHAPE, "temperature": 0.6, "confidence_threshold": 0.95}},
    prompt="Ling's roles; its template writes a system turn with 'detailed thinking off'",
    lr=(5e-7, 5e-7),
    lora_lr=(3e-6, 3e-6),
    sources={
        "evaluation": "yjyddq/DARE, recipe/llada2_mini: 2,048 tokens, blocks of 32, temperature 0; 32 steps a block: "
        "diffusers, docs of the pipeline llada2",
        "rollout": "yjyddq/DARE, recipe/llada2_mini: temperature 0.6; the threshold is DARE's and SGLang's LowConfidence",
        "lr": "yjyddq/DARE, recipe/llada2_mini: 5e-7",
        "lora_lr": "none is published for LLaDA2: d1's for LLaDA-8B",
        "lora_target": "what an adapter can be put on: not the fused queries, keys and values, and not the experts",
    },
    lora_target=("attn_out",),
)

FAMILY = Family("llada2_moe", sizes, vocabulary, tensors, llada.layout, head=HEAD, habits=HABITS, card=CARD)

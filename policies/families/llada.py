"""LLaDA (arXiv 2502.09992): 8B Base, Instruct and 1.5 (arXiv 2505.19223, the same layout). Text only.

Full attention, no biases, an untied head; rotation in single precision. Our tensor names are this family's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.base import EncodedPrompt, Vocabulary
from policies.families.card import Card
from policies.families.registry import Family
from policies.families.rope import require_whole_heads, rope_theta
from policies.families.settings import COPY, flag, number, require, shown, whole, whole_or_none
from policies.families.tensor_names import Tensors, prefixed
from policies.network.transformer import Transformer, TransformerConfig
from policies.policy import MaskedDiffusionPolicy
from policies.samplers.habits import Habits
from rl.errors import DataError, PolicyError
from rl.types import Prompt, Task

TURN_END = "<|eot_id|>"

# What the released code can be configured to do and no released checkpoint does.
FIXED = {
    "block_type": "llama",
    "layer_norm_type": "rms",
    "activation_type": "silu",
    "rope": True,
    "alibi": False,
    "attention_layer_norm": False,
    "include_bias": False,
    "input_emb_norm": False,
    "scale_logits": False,
    "block_group_size": 1,
    "layer_norm_with_affine": True,
    "bias_for_layer_norm": False,
}


HEAD = ("model.transformer.ff_out.weight", "model.transformer.wte.weight")


def sizes(config: Mapping[str, Any]) -> TransformerConfig:
    """Where the config does not say, numbers are those of the released configuration_llada.py; its structure, which the
    weights' names show too, is that of the released checkpoints."""
    return read_sizes(config, theta=10_000.0, max_length=1024)


def read_sizes(config: Mapping[str, Any], theta: float | None, max_length: int) -> TransformerConfig:
    """theta, max_length: where the config does not say; None: it must."""
    require(config, FIXED)
    require_whole_heads(config)
    d_model, heads = whole(config, "d_model"), whole(config, "n_heads")
    return TransformerConfig(
        vocab_size=vocabulary_size(config),
        d_model=d_model,
        n_layers=whole(config, "n_layers"),
        n_heads=heads,
        n_kv_heads=_key_value_heads(config, heads),
        mlp_hidden_size=whole_or_none(config, "mlp_hidden_size") or whole(config, "mlp_ratio", 4) * d_model,
        max_sequence_length=whole(config, "max_sequence_length", max_length),
        rope_theta=rope_theta(config, theta),
        rms_norm_eps=number(config, "rms_norm_eps", 1e-5),
        rotary_float32=flag(config, "rope_full_precision", True),
        qkv_bias=flag(config, "include_qkv_bias"),
        tied_head=flag(config, "weight_tying"),
    )


def _key_value_heads(config: Mapping[str, Any], heads: int) -> int:
    """``multi_query_attention`` is the older name of one head for all. Raises PolicyError where both contradict."""
    stated, shared = whole_or_none(config, "n_kv_heads"), config.get("multi_query_attention")
    older = None if shared is None else 1 if flag(config, "multi_query_attention") else heads
    if stated is not None and older is not None and stated != older:
        raise PolicyError(
            f"config.json: n_kv_heads={stated}, but multi_query_attention={shown(shared)} makes it {older}; set "
            "multi_query_attention to null"
        )
    return stated or older or heads


def vocabulary_size(config: Mapping[str, Any]) -> int:
    """Rows of the embedding, which may be more than there are tokens. Raises PolicyError where they are fewer."""
    tokens, rows = whole(config, "vocab_size"), whole_or_none(config, "embedding_size")
    if rows is not None and rows < tokens:
        raise PolicyError(f"config.json: embedding_size={rows}: must be at least vocab_size={tokens}; {COPY}")
    return rows or tokens


def vocabulary(config: Mapping[str, Any], text_size: int) -> Vocabulary:
    size = vocabulary_size(config)
    return Vocabulary(size, config["mask_token_id"], config["eos_token_id"], image_offset=size, codebook_size=0)


def tensors(module: Transformer) -> Tensors:
    return prefixed(module, "model.transformer.")


def layout(policy: MaskedDiffusionPolicy, prompt: Prompt) -> EncodedPrompt:
    """The folder's own chat template. Every family that only writes text has this layout."""
    if prompt.task is not Task.TEXT:
        raise DataError(f"prompt {prompt.id}: task={prompt.task}: {policy.name} answers text only")
    return EncodedPrompt(prefix=tuple(policy.tokenizer.chat(prompt.messages)))


HABITS = Habits(mask_counts=True, whole_rank=True, turn_end=TURN_END)

CARD = Card(
    evaluation={"text": {"max_new_tokens": 256, "block_length": 32, "steps": 256, "temperature": 0.0}},
    rollout={"text": {"max_new_tokens": 256, "block_length": 32, "steps": 128, "temperature": 0.9}},
    prompt="the folder's chat template (Llama 3's headers), no system text; d1 puts its instruction before the question",
    lr=(5e-7, 1e-6),
    lora_lr=(3e-6, 3e-6),
    sources={
        "evaluation": "ML-GSAI/LLaDA, EVAL.md: GSM8K in 256 tokens, one token a step; generate.py: block_length 32, greedy",
        "rollout": "dllm-reasoning/d1, diffu-grpo/slurm_scripts/train.yaml; temperature 0.9: diffu_grpo_config.py",
        "lr": "yjyddq/DARE, recipe/llada: 5e-7; Gen-Verse/dLLM-RL, configs/rl_llada.yaml: 1e-6",
        "lora_lr": "d1, wd1 and SPG: 3e-6 (train.yaml of each repository)",
        "lora_target": "all linear layers: yjyddq/DARE, recipe/llada, its LoRA block",
    },
)

FAMILY = Family("llada", sizes, vocabulary, tensors, layout, head=HEAD, habits=HABITS, card=CARD)

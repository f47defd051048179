"""LLaDA (arXiv 2502.09992): 8B Base, Instruct and 1.5 (arXiv 2505.19223, the same layout). Text only.

Full attention, no biases, an untied head; rotation in single precision. Our tensor names are this family's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.base import EncodedPrompt, Vocabulary
from policies.families.registry import Family
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
}


def sizes(config: Mapping[str, Any]) -> TransformerConfig:
    for name, only in FIXED.items():
        if config.get(name, only) != only:
            raise PolicyError(
                f"config.json: {name}={config[name]!r}: allowed: {only!r}, as in the released checkpoints"
            )
    return TransformerConfig(
        vocab_size=config.get("embedding_size") or config["vocab_size"],
        d_model=config["d_model"],
        n_layers=config["n_layers"],
        n_heads=config["n_heads"],
        n_kv_heads=config.get("n_kv_heads"),
        mlp_hidden_size=config["mlp_hidden_size"],
        max_sequence_length=config.get("max_sequence_length", 4096),
        rope_theta=config.get("rope_theta", 500_000.0),
        rms_norm_eps=config.get("rms_norm_eps", 1e-5),
        rotary_float32=config.get("rope_full_precision", True),
        qkv_bias=config.get("include_qkv_bias") or False,
        tied_head=config.get("weight_tying", False),
    )


def vocabulary(config: Mapping[str, Any], text_size: int) -> Vocabulary:
    size = config.get("embedding_size") or config["vocab_size"]
    return Vocabulary(size, config["mask_token_id"], config["eos_token_id"], image_offset=size, codebook_size=0)


def tensors(module: Transformer) -> Tensors:
    return prefixed(module, "model.transformer.")


def layout(policy: MaskedDiffusionPolicy, prompt: Prompt) -> EncodedPrompt:
    """The folder's own chat template. Every family that only writes text has this layout."""
    if prompt.task is not Task.TEXT:
        raise DataError(f"prompt {prompt.id}: task={prompt.task}: {policy.name} answers text only")
    return EncodedPrompt(prefix=tuple(policy.tokenizer.chat(prompt.messages)))


HABITS = Habits(mask_counts=True, whole_rank=True, turn_end=TURN_END)

FAMILY = Family("llada", sizes, vocabulary, tensors, layout, habits=HABITS)

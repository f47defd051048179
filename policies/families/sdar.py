"""SDAR (arXiv 2510.06303) and TraDo (arXiv 2509.06949): Qwen3's layout, text only.

Block-causal: a token sees its own block and those before it, blocks of ``block_size`` counted from the first token of
the prompt. Queries and keys are normalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.base import Vocabulary
from policies.families import llada, qwen
from policies.families.card import Card
from policies.families.registry import Family
from policies.families.rope import require_whole_heads
from policies.families.settings import flag, whole, whole_or_none
from policies.network.transformer import TransformerConfig
from policies.samplers import DRAWN
from policies.samplers.habits import Habits

MASK_ID = 151669  # of the released tokenizers, for folders whose config does not say
BLOCK_LENGTH = 4
HEAD_DIM = 128  # as in the released configuration_sdar.py


def sizes(config: Mapping[str, Any]) -> TransformerConfig:
    require_whole_heads(config)
    bias = flag(config, "attention_bias")
    return qwen.sizes(
        config,
        head_dim=whole(config, "head_dim", HEAD_DIM),
        qk_norm=True,
        qkv_bias=bias,
        out_bias=bias,
        block_length=whole_or_none(config, "block_size") or BLOCK_LENGTH,
    )


def vocabulary(config: Mapping[str, Any], text_size: int) -> Vocabulary:
    return qwen.vocabulary(config, config.get("mask_token_id", MASK_ID), config["eos_token_id"])


# github.com/JetAstra/SDAR, generate.py: ``block_diffusion_generate``.
HABITS = Habits(confidence=DRAWN, mask_counts=True, whole_rank=True, turn_end="<|im_end|>")

_SHAPE = {"max_new_tokens": 2000, "block_length": BLOCK_LENGTH, "steps": 2000}
CARD = Card(
    evaluation={"text": {**_SHAPE, "temperature": 0.0}},
    rollout={"text": {**_SHAPE, "temperature": 1.0, "confidence_threshold": 0.9}},
    prompt="ChatML, no system text; TraDo's repository asks for the final answer in \\boxed{}",
    lr=(5e-7, 1e-6),
    lora_lr=(3e-6, 3e-6),
    sources={
        "evaluation": "JetAstra/SDAR, README: greedy, block_length 4, denoising_steps 4; 2,000 tokens: dLLM-RL",
        "rollout": "Gen-Verse/dLLM-RL, configs/rl_sdar.yaml and rl_trado.yaml: temperature 1, dynamic threshold 0.9",
        "lr": "yjyddq/DARE, recipe/sdar: 5e-7; Gen-Verse/dLLM-RL, configs/rl_sdar.yaml: 1e-6",
        "lora_lr": "none is published for SDAR: d1's for LLaDA-8B",
        "lora_target": "all linear layers, as the other families",
    },
)

FAMILY = Family("sdar", sizes, vocabulary, qwen.tensors, llada.layout, head=qwen.HEAD, habits=HABITS, card=CARD)

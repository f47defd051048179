"""Dream (arXiv 2508.15487) and DiffuCoder (arXiv 2506.20639): Qwen2's layout, text only.

They grew from an autoregressive model and kept its habit: the state at position p - 1 predicts the token at p. Here
``hidden`` and ``logits`` are aligned already, so samplers and losses need not know. Full attention; queries, keys and
values have biases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.base import Vocabulary
from policies.families import llada, qwen
from policies.families.card import Card
from policies.families.registry import Family
from policies.families.rope import require_whole_heads
from policies.network.transformer import TransformerConfig
from policies.samplers import DRAWN
from policies.samplers.habits import Habits

MASK_ID = 151666  # of the released configuration_dream.py, for folders whose config does not say


def sizes(config: Mapping[str, Any]) -> TransformerConfig:
    require_whole_heads(config)
    return qwen.sizes(config, qkv_bias=True, shifted=True)


def vocabulary(config: Mapping[str, Any], text_size: int) -> Vocabulary:
    return qwen.vocabulary(config, config.get("mask_token_id", MASK_ID), config["eos_token_id"])


# github.com/DreamLM/Dream and the checkpoints' generation_utils.py: ``diffusion_generate``.
HABITS = Habits(
    schedule="dream", confidence=DRAWN, mask_counts=True, whole_rank=True, top_p_first=True, turn_end="<|im_end|>"
)

CARD = Card(
    evaluation={
        "text": {
            "max_new_tokens": 512, "block_length": 512, "steps": 512, "temperature": 0.2, "top_p": 0.95,
            "remasking": "entropy",
        }
    },
    rollout={"text": {"max_new_tokens": 512, "block_length": 32, "steps": 256, "temperature": 0.8}},
    prompt="ChatML; its template adds the system text 'You are a helpful assistant.' where a row has none",
    lr=(5e-7, 1e-6),
    lora_lr=(3e-6, 3e-6),
    sources={
        "evaluation": "DreamLM/Dream, README: 512 tokens, 512 steps, temperature 0.2, top_p 0.95, alg entropy",
        "rollout": "yjyddq/DARE, recipe/dream: 512 tokens, half as many steps, blocks of 32; temperature 0.8: "
        "Gen-Verse/dLLM-RL, configs/rl_dream.yaml, without its top_k and top_p, which a likelihood cannot follow",
        "lr": "yjyddq/DARE, recipe/dream: 5e-7; apple/ml-diffucoder, recipes/config_coupled_code.yaml, and dLLM-RL: 1e-6",
        "lora_lr": "none is published for Dream: d1's for LLaDA-8B",
        "lora_target": "all linear layers: yjyddq/DARE, recipe/dream, its LoRA block",
    },
)  # fmt: skip

FAMILY = Family("Dream", sizes, vocabulary, qwen.tensors, llada.layout, head=qwen.HEAD, habits=HABITS, card=CARD)

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

FAMILY = Family("Dream", sizes, vocabulary, qwen.tensors, llada.layout, head=qwen.HEAD, habits=HABITS)

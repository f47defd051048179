"""LLaDA (arXiv 2502.09992): text only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.base import EncodedPrompt, Vocabulary
from policies.families import Family
from policies.policy import MaskedDiffusionPolicy
from policies.transformer import TransformerConfig
from rl.errors import DataError
from rl.types import Prompt, Task


def sizes(config: Mapping[str, Any]) -> TransformerConfig:
    return TransformerConfig(
        vocab_size=config.get("embedding_size") or config["vocab_size"],
        d_model=config["d_model"],
        n_layers=config["n_layers"],
        n_heads=config["n_heads"],
        mlp_hidden_size=config["mlp_hidden_size"],
        max_sequence_length=config.get("max_sequence_length", 4096),
        rope_theta=config.get("rope_theta", 500_000.0),
        rms_norm_eps=config.get("rms_norm_eps", 1e-5),
    )


def vocabulary(config: Mapping[str, Any]) -> Vocabulary:
    size = config.get("embedding_size") or config["vocab_size"]
    return Vocabulary(size, config["mask_token_id"], config["eos_token_id"], image_offset=size, codebook_size=0)


def layout(policy: MaskedDiffusionPolicy, prompt: Prompt) -> EncodedPrompt:
    if prompt.task is not Task.TEXT:
        raise DataError(f"prompt {prompt.id}: task={prompt.task}: {policy.name} answers text only")
    return EncodedPrompt(prefix=tuple(policy.tokenizer.chat(prompt.messages)))


FAMILY = Family("llada", "model.transformer.", sizes, vocabulary, layout)

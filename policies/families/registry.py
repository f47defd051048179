"""What a family is, and the families by the ``model_type`` of their config.json. A new one is one file and one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from policies.base import EncodedPrompt, Vocabulary
from policies.families.card import Card
from policies.families.tensor_names import Tensors
from policies.network.transformer import Transformer, TransformerConfig
from policies.policy import MaskedDiffusionPolicy
from policies.samplers.habits import LLADA, Habits
from rl.errors import PolicyError
from rl.registry import Registry, Takes, part
from rl.types import Prompt


@dataclass(frozen=True, slots=True)
class Family:
    """How a family's folder is read.

    model_type   as ``config.json`` has it
    sizes        from the config's own names
    vocabulary   from the config, and how many tokens the tokenizer has
    tensors      the names of its weights, and our tensors that each is made of
    layout       a prompt as ids
    aliases      layout tokens that the released tokenizer has under another name: name in the layout -> name there
    head         names of the head's weight and of the embedding's, which are one tensor where the config ties them
    habits       how its own code samples text, which ``auto`` in the settings stands for
    card         what its released checkpoints were published with, for settings that nobody gives
    """

    model_type: str
    sizes: Callable[[Mapping[str, Any]], TransformerConfig] = field(metadata=part(Takes(1)))
    vocabulary: Callable[[Mapping[str, Any], int], Vocabulary] = field(metadata=part(Takes(2)))
    tensors: Callable[[Transformer], Tensors] = field(metadata=part(Takes(1)))
    layout: Callable[[MaskedDiffusionPolicy, Prompt], EncodedPrompt] = field(metadata=part(Takes(2)))
    aliases: Mapping[str, str] = field(default_factory=dict)
    head: tuple[str, str] | None = None
    habits: Habits = LLADA
    card: Card | None = None


FAMILIES: Registry[Family] = Registry(
    "family",
    {
        "llada": "policies.families.llada:FAMILY",
        "mmada": "policies.families.mmada:FAMILY",
        "Dream": "policies.families.dream:FAMILY",
        "sdar": "policies.families.sdar:FAMILY",
        "llada2_moe": "policies.families.llada2:FAMILY",
    },
    group="unigrpo.families",
    member=Family,
    error=PolicyError,
)


def family_of(model_type: object) -> Family:
    """Raises PolicyError with the families that exist."""
    FAMILIES.require("config.json: model_type", model_type)
    return FAMILIES[str(model_type)]

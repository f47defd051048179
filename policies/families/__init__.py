"""One file a family: what differs from the shared policy, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from policies.base import EncodedPrompt, Vocabulary
from policies.policy import MaskedDiffusionPolicy
from policies.transformer import TransformerConfig
from rl.errors import PolicyError
from rl.types import Prompt


@dataclass(frozen=True, slots=True)
class Family:
    """How a family's folder is read: its ``model_type``, its config's names, its weights' key prefix, its layout."""

    model_type: str
    key_prefix: str
    sizes: Callable[[Mapping[str, Any]], TransformerConfig]
    vocabulary: Callable[[Mapping[str, Any]], Vocabulary]
    layout: Callable[[MaskedDiffusionPolicy, Prompt], EncodedPrompt]


def family_of(model_type: object) -> Family:
    """Raises PolicyError with the families that exist."""
    from policies.families import llada, mmada

    known = {family.model_type: family for family in (llada.FAMILY, mmada.FAMILY)}
    if model_type not in known:
        raise PolicyError(f"config.json: model_type={model_type!r}: allowed: {', '.join(known)}")
    return known[str(model_type)]

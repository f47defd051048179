"""What is planned for, read from a policy's config.json and the settings of its adapter. No weights are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.plan.plan import Model
from cluster.plan.sizes import Adapter, adapter
from policies.families.registry import family_of
from policies.files.adapters import read_adapter
from policies.network.transformer import TransformerConfig
from rl.config import Config
from rl.config.lora import LoraConfig
from rl.errors import ConfigError


def model_of(config: Config, folder: Mapping[str, Any]) -> Model:
    """folder: the policy's config.json. Raises ConfigError or PolicyError."""
    family = family_of(folder.get("model_type"))
    sizes = family.sizes(folder)
    return Model(sizes, adapter_of(config.learner.lora, sizes), family.vocabulary(folder, 0).codebook_size > 0)


def check_rank(rank: int, sizes: TransformerConfig) -> None:
    """An adapter with more numbers than the layer beside it saves nothing. Raises ConfigError."""
    if rank > sizes.d_model:
        raise ConfigError(
            f"learner.lora.rank={rank}: above {sizes.d_model}, the width of the policy's layers; lower it, or train all "
            "weights with learner.lora.rank=0"
        )


def adapter_of(settings: LoraConfig, sizes: TransformerConfig) -> Adapter | None:
    """What the run trains beside frozen weights, None where it trains all of them. Raises ConfigError or PolicyError."""
    if settings.path is None:
        check_rank(settings.rank, sizes)
        return adapter(sizes, settings.rank, settings.target) if settings.rank else None
    parts = read_adapter(Path(settings.path)).values()
    return Adapter(
        sum(part.lora_a.numel() + part.lora_b.numel() for part in parts),
        sum(part.lora_a.shape[1] * part.lora_b.shape[0] for part in parts),
        frozenset(LoraConfig().target),
        sum(part.rank for part in parts),
    )

"""Memory of a learner rank and of a rollout worker, by part. Pure functions; every number is bytes.

Arithmetic, not measurement: what a caching allocator and a CUDA context take beside it is ``RESERVE`` of the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.plan.sizes import parameters, saved_numbers
from policies.network.transformer import TransformerConfig
from rl.learner.adamw8bit import BLOCK

RESERVE = 0.08  # of a device: CUDA context, NCCL buffers, fragments
WIDTHS: Mapping[str, int] = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Training:
    """What of the config decides a rank's memory. length: tokens of the longest sequence, prompt and response."""

    dtype: str
    zero_stage: int
    ranks: int
    micro_batch: int
    length: int
    scored: int
    checkpointing: bool
    reference: bool
    logits_mib: float
    optimizer: str = "adamw"


# Of the two moments, bytes a parameter: 8 bits each, and a float32 scale for every 256.
MOMENTS: Mapping[str, float] = {"adamw": 8, "adamw8bit": 2 * (1 + 4 / BLOCK)}


def weight_bytes(config: TransformerConfig, dtype: str) -> int:
    return parameters(config) * WIDTHS[dtype]


def learner_memory(config: TransformerConfig, training: Training) -> dict[str, float]:
    """By part. Mixed precision as in ZeRO (arXiv 1910.02054, section 3.1), with gradients added up in float32:

    bfloat16   weights 2, gradients 4, AdamW 12 (its own float32 weights and two moments) a parameter
    float32    weights 4, gradients 4, AdamW 8

    With ``adamw8bit`` two moments take 2.03 bytes in place of 8.
    Stage 1 divides AdamW's by the ranks, 2 the gradients too, 3 the weights too. The reference is frozen and whole.
    """
    count, ranks, stage = parameters(config), training.ranks, training.zero_stage
    width = WIDTHS[training.dtype]
    states = MOMENTS[training.optimizer] + (4 if training.dtype == "bfloat16" else 0)
    return {
        "weights": count * width / (ranks if stage >= 3 else 1),
        "gradients": count * 4 / (ranks if stage >= 2 else 1),
        "AdamW": count * states / (ranks if stage >= 1 else 1),
        "reference": float(count * width) if training.reference else 0.0,
        "activations": activations(config, training),
        "logits": logits(config, training),
    }


def activations(config: TransformerConfig, training: Training) -> float:
    """Of one micro-batch. With checkpointing: every layer's input, and one layer whole while it is run again."""
    tokens, width = training.micro_batch * training.length, WIDTHS[training.dtype]
    if training.checkpointing:
        return tokens * width * float(config.n_layers * config.d_model + saved_numbers(config))
    return tokens * width * float(config.n_layers * saved_numbers(config))


def logits(config: TransformerConfig, training: Training) -> float:
    """A chunk of logits in float32 and its gradient; never more than ``learner.logits_mib`` each."""
    rows = training.micro_batch * training.scored
    return 2 * min(rows * config.vocab_size * 4.0, training.logits_mib * 2**20)


def rollout_memory(config: TransformerConfig, dtype: str, group: int, length: int, scored: int) -> dict[str, float]:
    """Weights, twice while the next version arrives beside the old; one layer's states; logits of a block, in float32."""
    width = WIDTHS[dtype]
    return {
        "weights": float(parameters(config) * width),
        "next weights": float(parameters(config) * 4),  # as they come off the wire: float32
        "activations": group * length * width * float(2 * config.d_model + saved_numbers(config)),
        "logits": group * scored * config.vocab_size * 4.0 * 2,
    }

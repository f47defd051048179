"""Activation checkpointing: keep each layer's input alone, and run the layer again for its gradient.

T. Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from rl.errors import ConfigError


def checkpoint_layers(module: nn.Module) -> None:
    """From now on, layers of ``module.blocks`` keep nothing but their input. Costs one more forward pass of the layers.

    Raises ConfigError where the module has no such layers.
    """
    blocks = getattr(module, "blocks", None)
    if not isinstance(blocks, nn.ModuleList):
        raise ConfigError(
            f"learner.activation_checkpointing=true: {type(module).__name__} has no list of layers named blocks; "
            "set it to false"
        )
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)

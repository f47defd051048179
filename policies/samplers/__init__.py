"""Samplers of text and images, and their choices by name. Importing this is light: a choice is imported when it is used."""

from __future__ import annotations

from typing import Any

from rl.registry import Registry

# Remasking rules (policies.samplers.remasking.Remasking): which candidates are kept at a step.
REMASKING: Registry[Any] = Registry(
    "remasking rule",
    {
        "low_confidence": "policies.samplers.remasking:LOW_CONFIDENCE",
        "random": "policies.samplers.remasking:RANDOM",
        "entropy": "policies.samplers.remasking:ENTROPY",
        "margin": "policies.samplers.remasking:MARGIN",
    },
    group="unigrpo.remasking",
)

# Unmasking schedules of images: share of the time that has passed, 0..1 -> share of the codes still masked.
UNMASKING: Registry[Any] = Registry(
    "unmasking schedule",
    {"cosine": "policies.samplers.image:cosine", "linear": "policies.samplers.image:linear"},
    group="unigrpo.unmasking",
)

# Caches of text, what a denoising step computes anew: policy, settings, group size -> policies.samplers.states.base.States.
CACHES: Registry[Any] = Registry(
    "cache",
    {
        "none": "policies.samplers.states.whole:WholeStates",
        "prefix": "policies.samplers.states.cached:PrefixStates",
        "dual": "policies.samplers.states.cached:DualStates",
    },
    group="unigrpo.caches",
)

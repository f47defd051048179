"""Samplers of text and images, and their choices by name. Importing this is light: a choice is imported when it is used."""

from __future__ import annotations

from typing import Any

from rl.registry import Registry, Takes

AUTO = "auto"  # in the settings: as the policy's family does (policies.samplers.habits)

# The distribution that the confidence in a token is of.
PLAIN, DRAWN = "plain", "drawn"
CONFIDENCES = (AUTO, PLAIN, DRAWN)

# Remasking rules (policies.samplers.remasking.Remasking): which candidates are kept at a step.
REMASKING: Registry[Any] = Registry(
    "remasking rule",
    {
        "low_confidence": "policies.samplers.remasking:LOW_CONFIDENCE",
        "random": "policies.samplers.remasking:RANDOM",
        "entropy": "policies.samplers.remasking:ENTROPY",
        "margin": "policies.samplers.remasking:MARGIN",
        "origin": "policies.samplers.remasking:ORIGIN",
    },
    group="unigrpo.remasking",
    member="policies.samplers.remasking:Remasking",
)

# Unmasking schedules of images: share of the time that has passed, 0..1 -> share of the codes still masked.
UNMASKING: Registry[Any] = Registry(
    "unmasking schedule",
    {"cosine": "policies.samplers.schedules:cosine", "linear": "policies.samplers.schedules:linear"},
    group="unigrpo.unmasking",
    member=Takes(1),
)

# Unmasking schedules of text (policies.samplers.schedules.TextSchedule). ``auto`` in the settings is the family's own.
TEXT_SCHEDULES: Registry[Any] = Registry(
    "text schedule",
    {"uniform": "policies.samplers.schedules:UNIFORM", "dream": "policies.samplers.schedules:DREAM"},
    group="unigrpo.text_schedules",
    member="policies.samplers.schedules:TextSchedule",
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
    member=Takes(3, "policies.samplers.states.base:States"),
)

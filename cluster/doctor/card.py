"""What the policy's family was published with, and what of it these settings change."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from cluster.doctor.case import Case
from cluster.doctor.check import Result, ok, skipped
from policies.files.folders import is_shipped
from rl.config.flat import flatten

FAR = 10.0  # times as high or low as any published learning rate


def card(case: Case) -> Result:
    """Sampling of text, learning rates and prompt; settings of recipe or user that differ, and a rate that is far off."""
    assert case.family is not None
    found = case.family.card
    if found is None or is_shipped(case.folder):
        why = (
            f"family {case.family.model_type} has none" if found is None else "a shipped policy, whose recipes say all"
        )
        return skipped(f"{why}: the rest are this project's defaults")
    learner = case.config.learner
    kind = "lora_lr" if learner.lora.on else "lr"
    low, high = getattr(found, kind)
    limit = case.family.sizes(case.settings).max_sequence_length
    published = _flat(found.settings(limit, learner.lora.on))
    here = _flat(dataclasses.asdict(case.config))
    text = {name: value for name, value in published.items() if name.startswith("rollout.text.")}
    changed = {name: here[name] for name, value in published.items() if name != "learner.lr" and here[name] != value}
    parts = [f"{case.family.model_type}: rollouts of text {_words(text)}", f"learner.lr {low:g} to {high:g}"]
    parts.append(f"prompt: {found.prompt}")
    if changed:
        parts.append(f"here {_words(changed)}")
    if not low / FAR <= learner.lr <= high * FAR:
        parts.append(f"learner.lr={learner.lr:g} is far outside of what was published")
    return ok("; ".join(parts), published=published, changed=changed)


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flatten(tree) if value != {}}


def _words(settings: Mapping[str, Any]) -> str:
    short = {name.removeprefix("rollout.text."): value for name, value in settings.items()}
    return " ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in short.items()
    )

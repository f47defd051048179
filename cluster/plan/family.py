"""What a policy's family was published with, below the settings of recipe and user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policies.families.card import SHAPE, Card
from policies.families.registry import family_of
from policies.files.folders import find_policy, is_shipped, read_config
from policies.files.parts import Part
from rl.config import Config, Layer, Origin, layers_of, merge, value_of
from rl.config.flat import flatten
from rl.errors import PolicyError

SAMPLED = ("rollout", "evaluation")
UNREAD = (
    "policy.path={path}: cannot be read here, and so neither can its family's card: what nobody says, learner.lr for one, has "
    "this project's defaults; `unigrpo config` shows which"
)


def with_family(recipe: str, overrides: Sequence[str]) -> tuple[Config, list[Layer]]:
    """The config of a recipe and overrides over the family's card, ``auto`` as it stands, and its layers. Raises
    ConfigError."""
    layers = layers_of(recipe, overrides, family_layer)
    return merge(layers), layers


def family_layer(layers: Sequence[Layer]) -> Layer | None:
    """What the policy's family says of settings that no layer gives. None: a shipped policy, whose recipes say all, or one
    whose family has no card or cannot be told: the checks of a run say why."""
    found = card_of(layers)
    if found is None:
        return None
    family, limit, card = found
    given = set().union(*(layer.given for layer in layers))
    left = _left(card.settings(limit, _trains_adapter(layers)), given)
    return Layer(f"the card of family {family}", Origin.FAMILY, left) if left else None


def family_notes(config: Config, layers: Sequence[Layer], trains: bool = True) -> list[str]:
    """One line for what the family gave, one where a run that trains has a learning rate outside of what was published."""
    notes = []
    if layers and layers[0].origin is Origin.FAMILY:
        words = " ".join(f"{key}={_word(value)}" for key, value in layers[0].given.items())
        notes.append(f"defaults  from {layers[0].where}: {words}")
    found = card_of(layers)
    if found is None:
        return [*notes, UNREAD.format(path=config.policy.path)] if is_elsewhere(config) else notes
    family, _, card = found
    kind = "lora_lr" if config.learner.lora.on else "lr"
    low, high = getattr(card, kind)
    if trains and not low / 10 <= config.learner.lr <= high * 10:
        notes.append(
            f"learner.lr={config.learner.lr:g}: published runs of family {family} have {low:g} to {high:g} "
            f"({card.sources[kind]})"
        )
    return notes


def card_of(layers: Sequence[Layer]) -> tuple[str, int, Card] | None:
    """The policy's family, the tokens that it takes in all, and its card."""
    path, revision = (value_of(layers, f"policy.{name}") for name in ("path", "revision"))
    path = str(Config().policy.path if path is None else path)
    try:
        folder = find_policy(path if revision is None else f"{path}@{revision}", Part.SIZES)
        if is_shipped(folder):
            return None
        config = read_config(folder)
        family = family_of(config.get("model_type"))
        return (
            None if family.card is None else (family.model_type, family.sizes(config).max_sequence_length, family.card)
        )
    except (PolicyError, KeyError, TypeError, ValueError):
        return None


def is_elsewhere(config: Config) -> bool:
    """Whether the policy lies on another machine, as it may for a job that is submitted."""
    try:
        find_policy(config.policy.path, Part.SIZES)
    except PolicyError:
        return True
    return False


def _trains_adapter(layers: Sequence[Layer]) -> bool:
    rank, path = value_of(layers, "learner.lora.rank"), value_of(layers, "learner.lora.path")
    return path is not None or (isinstance(rank, int) and rank > 0)


def _left(settings: Mapping[str, Any], given: set[str]) -> dict[str, Any]:
    """Without what is given. A canvas, its blocks and its steps are one thing: where one of them is given, none is left."""
    taken = set(given)
    for section in SAMPLED:
        for task in settings.get(section, {}):
            names = {f"{section}.{task}.{name}" for name in SHAPE}
            if names & given:
                taken |= names
    tree: dict[str, Any] = {}
    for key, value in flatten(settings):
        parts = key.split(".")
        if {".".join(parts[: depth + 1]) for depth in range(len(parts))} & taken or value == {}:
            continue
        at = tree
        for part in parts[:-1]:
            at = at.setdefault(part, {})
        at[parts[-1]] = value
    return tree


def _word(value: object) -> str:
    return (
        f"[{','.join(map(str, value))}]"
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )

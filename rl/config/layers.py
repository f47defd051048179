"""Where settings come from: layers, one over the other, and which of them a setting's value is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rl.config.flat import flatten


class Origin(StrEnum):
    """What a layer is, from the lowest to the highest."""

    DEFAULT = "default"  # of this project
    FAMILY = "family"  # what the policy's family was published with
    BASE = "base"  # a recipe that the recipe stands on
    RECIPE = "recipe"
    OVERRIDE = "override"  # typed: key=value


@dataclass(frozen=True, slots=True)
class Layer:
    """Some settings. where: names them in messages, e.g. a file. key: an override's own, empty for a whole file."""

    where: str
    origin: Origin
    settings: DictConfig | Mapping[str, Any]
    key: str = ""

    @property
    def given(self) -> dict[str, Any]:
        """Dotted names and values of what it sets; an empty mapping is a value."""
        tree = OmegaConf.to_container(self.settings) if isinstance(self.settings, DictConfig) else self.settings
        assert isinstance(tree, Mapping)
        return dict(flatten({str(name): value for name, value in tree.items()}))


def value_of(layers: Sequence[Layer], key: str) -> Any:
    """What the highest layer that sets a leaf says; None where none does."""
    return next((given[key] for layer in reversed(layers) if key in (given := layer.given)), None)


def origins(layers: Sequence[Layer], settings: Mapping[str, Any]) -> dict[str, Layer | None]:
    """For each setting of a flat config, the highest layer that gives it, itself or as a part of something larger; None: a
    default."""
    given = [(layer, layer.given) for layer in layers]
    found: dict[str, Layer | None] = {}
    for key in settings:
        whole = [key]
        while "." in whole[-1]:
            whole.append(whole[-1].rpartition(".")[0])
        found[key] = next(
            (
                layer
                for layer, own in reversed(given)
                if any(name in own for name in whole) or any(name.startswith(f"{key}.") for name in own)
            ),
            None,
        )
    return found

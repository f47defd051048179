"""Loading a config: layers of settings, merged with ``key=value`` overrides, validated once, then frozen.

Every mistake is found here or in the checks of ``cluster/run/preflight.py``, before the first process starts (law 11).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rl.config.checks import validate
from rl.config.flat import flatten
from rl.config.health import check_health
from rl.config.layers import Layer, Origin
from rl.config.recipes import recipe_layers
from rl.config.sections import Config
from rl.config.wording import hint, in_words
from rl.errors import ConfigError, first_line
from rl.tracking.further import check_names

Family = Callable[[Sequence[Layer]], Layer | None]  # what the policy's family adds below the layers of recipe and user


def load_config(recipe: str | Path, overrides: Sequence[str] = (), family: Family | None = None) -> Config:
    """A shipped recipe's name or a YAML file's path, merged with ``key=value`` overrides, validated and frozen.

    family: asked for a layer below those of the recipe. Raises ConfigError, with one line that says what, where, the value,
    what is allowed and how to mend it.
    """
    return merge(layers_of(recipe, overrides, family))


def layers_of(recipe: str | Path | None, overrides: Sequence[str] = (), family: Family | None = None) -> list[Layer]:
    """The layers of a run's settings, from the lowest to the highest, without the defaults. recipe: None: overrides alone.
    Raises ConfigError."""
    layers = [*([] if recipe is None else recipe_layers(recipe)), *map(parse_override, overrides)]
    own = None if family is None else family(layers)
    return layers if own is None else [own, *layers]


def settings_given(recipe: str | Path | None, overrides: Sequence[str] = ()) -> set[str]:
    """The settings, as ``section.name``, that a recipe, one that it stands on, or an override gives a value."""
    return {
        f"{section}.{name}"
        for layer in layers_of(recipe, overrides)
        for section, inside in layer.settings.items()
        if isinstance(inside, DictConfig)
        for name in inside
    }


def build_config(layers: Sequence[tuple[str, DictConfig | Mapping[str, Any]]], overrides: Sequence[str] = ()) -> Config:
    """Merge named layers and then ``key=value`` overrides over the defaults, in order, and validate; see ``merge``."""
    return merge([*(Layer(where, Origin.RECIPE, layer) for where, layer in layers), *map(parse_override, overrides)])


def merge(layers: Sequence[Layer]) -> Config:
    """Merge layers over the defaults, in order, and validate.

    A mapping whose names are the user's, such as a mix of rewards, is replaced where it is given as a whole: as
    ``rewards.mix={...}`` or ``rewards.mix.text={...}`` in an override, as ``mix: ...`` in a file. Nobody asks for a reward
    by leaving it out. ``rewards.mix.text.format=1`` changes one entry.
    """
    merged = copy.deepcopy(_defaults())
    for layer in layers:
        try:
            for whole in _given_whole(layer.settings, layer.key):
                OmegaConf.update(merged, whole, {}, merge=False)
            merged = OmegaConf.merge(merged, layer.settings)
        except OmegaConfBaseException as error:
            raise ConfigError(_explain(layer.where, error)) from error
        except TypeError as error:  # OmegaConf's own for a list in the place of a mapping
            raise ConfigError(
                f"{layer.where}: a list where settings have names, or names where a list stands; give the whole of it, e.g. "
                "data.train=[{source: sudoku4x4}] or rewards.mix.text={format: 1}"
            ) from error
    try:
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(_explain("config", error)) from error
    assert isinstance(config, Config)
    validate(config)
    check_health(config.health)
    check_names(config.tracking.also)
    return config


def to_yaml(config: Config) -> str:
    """The whole config as YAML; ``load_config`` of it gives an equal config."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _given_whole(layer: DictConfig | Mapping[str, Any], key: str) -> list[str]:
    """The mappings of free names that a layer gives as a whole. key: an override's; the empty one for a file."""
    inside = [free for free in free_mappings() if key.startswith(f"{free}.")]
    wholes = [key] if inside else [free for free in free_mappings() if not key or f"{free}.".startswith(f"{key}.")]
    return [whole for whole in wholes if isinstance(_at(layer, whole), Mapping | DictConfig)]


def _at(layer: Any, key: str) -> Any:
    for name in key.split("."):
        layer = layer.get(name) if isinstance(layer, Mapping | DictConfig) else None
    return layer


@cache
def free_mappings() -> tuple[str, ...]:
    """Settings that are mappings whose names the user chooses, such as ``rewards.mix``; not those within lists."""
    return tuple(_free_mappings(Config, ""))


def _free_mappings(section: type, prefix: str) -> Iterator[str]:
    for name, kind in get_type_hints(section).items():
        if get_origin(kind) is dict:
            yield f"{prefix}{name}"
        elif dataclasses.is_dataclass(kind):
            yield from _free_mappings(cast(type, kind), f"{prefix}{name}.")


@cache
def _defaults() -> DictConfig:
    """Of every config: to make it takes eight times as long as to copy it."""
    return _writable(OmegaConf.structured(Config))


def _writable(config: DictConfig) -> DictConfig:
    """OmegaConf marks nodes made from frozen dataclasses read-only, at every level; merging needs them open."""
    OmegaConf.set_readonly(config, False)
    for key in config:
        child = config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            _writable(child)
    return config


def parse_override(text: str) -> Layer:
    """``key=value`` as a layer. Raises ConfigError."""
    key = text.split("=", 1)[0].strip()
    if "=" not in text or not key:
        raise ConfigError(f"override {text!r}: expected key=value, e.g. rollout.n_samples_per_prompt=8")
    try:
        return Layer(f"override {text!r}", Origin.OVERRIDE, OmegaConf.from_dotlist([text]), key)
    except Exception as error:
        raise ConfigError(f"override {text!r}: {first_line(error)}") from error


def _explain(where: str, error: OmegaConfBaseException) -> str:
    key = str(error.full_key or error.key or "")
    known = [name for name, _ in flatten(dataclasses.asdict(Config()), leaves_only=False)]
    if "not in" in str(error) or type(error).__name__ == "ConfigKeyError":
        return f"{where}: unknown setting {key!r}{hint(key, known)}"
    setting = key or where.removeprefix("override '").partition("=")[0]
    return f"{where}: {setting}: {in_words(first_line(error))}"

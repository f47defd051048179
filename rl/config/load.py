"""Loading a config: a recipe, merged with ``key=value`` overrides, validated once, then frozen.

Every mistake is found here or in the checks of ``cluster/run/preflight.py``, before the first process starts (law 11).
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rl.config.checks import flatten, validate
from rl.config.health import check_health
from rl.config.sections import Config
from rl.config.wording import in_words
from rl.errors import ConfigError, first_line
from rl.registry import close_to
from rl.tracking.further import check_names

_CONTROL = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what YAML forbids


def load_config(recipe: str | Path, overrides: Sequence[str] = ()) -> Config:
    """A shipped recipe's name or a YAML file's path, merged with ``key=value`` overrides, validated and frozen.

    Raises ConfigError, with one line that says what, where, the value, what is allowed and how to mend it.
    """
    path = recipe_path(recipe)
    try:
        loaded = OmegaConf.load(path)
    except Exception as error:  # YAML errors have many classes; all are the user's file
        raise ConfigError(_unreadable(path, error)) from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected a mapping of settings, got {type(loaded).__name__}")
    return build_config([(str(path), loaded)], overrides)


def settings_given(recipe: str | Path, overrides: Sequence[str] = ()) -> set[str]:
    """The settings, as ``section.name``, that a recipe or an override gives a value. Call ``load_config`` before."""
    loaded = OmegaConf.load(recipe_path(recipe))
    assert isinstance(loaded, DictConfig)
    layers = [loaded, *(layer for _, _, layer in map(_parse_override, overrides))]
    return {
        f"{section}.{name}"
        for layer in layers
        for section, inside in layer.items()
        if isinstance(inside, DictConfig)
        for name in inside
    }


def _unreadable(path: Path, error: Exception) -> str:
    """With the line and column, both counted from 1, where the reader knows them."""
    where, problem = "", first_line(error)
    if isinstance(error, OSError):
        return f"{path}: cannot be read: {error.strerror}"
    if isinstance(error, UnicodeDecodeError):
        where = _place(path.read_bytes()[: error.start].decode("latin-1"))
        problem = f"byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8"
    elif isinstance(error, yaml.reader.ReaderError) and (found := _CONTROL.search(text := path.read_text("utf-8"))):
        where, problem = _place(text[: found.start()]), f"a control character, U+{ord(found[0]):04X}; remove it"
    elif isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        where, begun = f"line {mark.line + 1}, column {mark.column + 1}: ", error.context_mark
        context = f"{error.context} from line {begun.line + 1} on" if error.context and begun else error.context
        problem = " ".join(filter(None, (error.problem, context)))
        lines = path.read_text("utf-8-sig").splitlines()
        if mark.line < len(lines) and lines[mark.line][mark.column : mark.column + 1] == "\t":
            problem = "a tab; indent with blanks"
    return f"{path}: {where}not YAML: {problem}"


def _place(before: str) -> str:
    lines = before.split("\n")
    return f"line {len(lines)}, column {len(lines[-1]) + 1}: "


def build_config(layers: Sequence[tuple[str, DictConfig | Mapping[str, Any]]], overrides: Sequence[str] = ()) -> Config:
    """Merge named layers and then ``key=value`` overrides over the defaults, in order, and validate.

    A mapping whose names are the user's, such as a mix of rewards, is replaced where it is given as a whole: as
    ``rewards.mix={...}`` or ``rewards.mix.text={...}`` in an override, as ``mix: ...`` in a file. Nobody asks for a reward
    by leaving it out. ``rewards.mix.text.format=1`` changes one entry.
    """
    merged = _writable(OmegaConf.structured(Config))
    for where, key, layer in [*((where, "", layer) for where, layer in layers), *map(_parse_override, overrides)]:
        try:
            for whole in _given_whole(layer, key):
                OmegaConf.update(merged, whole, {}, merge=False)
            merged = OmegaConf.merge(merged, layer)
        except OmegaConfBaseException as error:
            raise ConfigError(_explain(where, error)) from error
        except TypeError as error:  # OmegaConf's own for a list in the place of a mapping
            raise ConfigError(
                f"{where}: a list where settings have names, or names where a list stands; give the whole of it, e.g. "
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


def recipe_path(recipe: str | Path) -> Path:
    """The file of a shipped recipe or of a path. Raises ConfigError with the names that exist."""
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        if os.path.isfile(path):  # False also for a name that is too long to ask about
            return path
        raise ConfigError(f"recipe: no such file: {path}")
    folder = Path(str(resources.files("rl") / "recipes"))
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if str(recipe) in names:
        return folder / f"{recipe}.yaml"
    raise ConfigError(f"recipe: unknown {str(recipe)!r}; allowed: {', '.join(names)}, or the path of a .yaml file")


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


def _writable(config: DictConfig) -> DictConfig:
    """OmegaConf marks nodes made from frozen dataclasses read-only, at every level; merging needs them open."""
    OmegaConf.set_readonly(config, False)
    for key in config:
        child = config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            _writable(child)
    return config


def _parse_override(text: str) -> tuple[str, str, DictConfig]:
    """Where it stands, its key, and its settings."""
    key = text.split("=", 1)[0].strip()
    if "=" not in text or not key:
        raise ConfigError(f"override {text!r}: expected key=value, e.g. rollout.n_samples_per_prompt=8")
    try:
        return f"override {text!r}", key, OmegaConf.from_dotlist([text])
    except Exception as error:
        raise ConfigError(f"override {text!r}: {first_line(error)}") from error


def _explain(where: str, error: OmegaConfBaseException) -> str:
    key = str(error.full_key or error.key or "")
    known = [name for name, _ in flatten(dataclasses.asdict(Config()), leaves_only=False)]
    if "not in" in str(error) or type(error).__name__ == "ConfigKeyError":
        return f"{where}: unknown setting {key!r}{close_to(key, known)}"
    setting = key or where.removeprefix("override '").partition("=")[0]
    return f"{where}: {setting}: {in_words(first_line(error))}"

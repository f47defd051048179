"""Recipes: the files that a run's settings come from, and the recipes that they stand on.

``base: NAME`` or ``base: [NAME, ...]`` in a recipe puts it over others: shipped names, or paths that start from its own
folder. Later ones go over earlier ones, and the recipe itself over all of them; one that is reached twice counts where it is
reached first. Lists and mappings merge as files and overrides do (``build_config``).
"""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from rl.config.layers import Layer, Origin
from rl.errors import ConfigError, first_line
from rl.registry import close_to

BASE, NAME = "base", "name"
PARTS = "parts"  # the folder of what recipes share and nobody runs
SUFFIXES = (".yaml", ".yml")
_CONTROL = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what YAML forbids


def shipped() -> dict[str, Path]:
    """Every shipped file by its name, parts included. Names are flat, whatever the folder."""
    return {file.stem: file for file in sorted(_folder().rglob("*.yaml"), key=lambda file: file.stem)}


def recipe_names() -> list[str]:
    """What ``--recipe`` takes, but for paths."""
    return [name for name, file in shipped().items() if file.parent.name != PARTS]


def recipe_path(recipe: str | Path) -> Path:
    """The file of a shipped recipe or of a path. Raises ConfigError with the names that are close."""
    return _find(str(recipe), Path(), "recipe")


def recipe_layers(recipe: str | Path) -> list[Layer]:
    """The recipe's settings and, before them, those of the recipes that it stands on. Raises ConfigError, with the file."""
    path = recipe_path(recipe)
    layers = _layers(path, (), set())
    top = layers[-1]
    if len(layers) > 1 and NAME not in top.settings:  # a run never shares the folder of the recipe it stands on
        assert isinstance(top.settings, DictConfig)
        top.settings[NAME] = path.stem
    return [*layers[:-1], Layer(top.where, Origin.RECIPE, top.settings)]


def headline(path: Path) -> str:
    """A recipe's first line of comment: what it trains, and whether it was ever run."""
    with path.open(encoding="utf-8") as lines:
        return lines.readline().lstrip("# ").strip()


def _layers(path: Path, above: tuple[Path, ...], seen: set[Path]) -> list[Layer]:
    """above: the files from the recipe down to this one. seen: those that have their layer."""
    resolved = path.resolve()
    if resolved in [each.resolve() for each in above]:
        circle = " -> ".join(map(str, (*above, path)))
        raise ConfigError(
            f"{above[-1]}: base={path.stem!r}: a recipe stands on itself: {circle}; leave one of them out"
        )
    if resolved in seen:
        return []
    settings = _read(path)
    layers = []
    for name in _bases(path, settings):
        layers += _layers(_find(name, path.parent, f"{path}: base"), (*above, path), seen)
    seen.add(resolved)
    return [*layers, Layer(str(path), Origin.BASE, settings)]


def _bases(path: Path, settings: DictConfig) -> list[str]:
    """Takes them out of the settings."""
    stated: Any = settings.pop(BASE, [])
    names = list(stated) if isinstance(stated, ListConfig | list) else [stated]
    if not all(isinstance(name, str) and name.strip() for name in names):
        shown = OmegaConf.to_container(stated) if isinstance(stated, DictConfig | ListConfig) else stated
        raise ConfigError(
            f"{path}: base={shown!r}: expected a recipe's name or the path of a .yaml file, or a list of them, e.g. "
            "base: llada-8b-gsm8k"
        )
    return names


def _find(name: str, folder: Path, where: str) -> Path:
    path = folder / name
    if path.suffix in SUFFIXES:
        if os.path.isfile(path):  # False also for a name that is too long to ask about
            return path
        raise ConfigError(f"{where}: no such file: {path}")
    files = shipped()
    if name not in files:
        raise ConfigError(
            f"{where}: unknown {name!r}{close_to(name, files)}; allowed: a name that `unigrpo recipes` lists, or the path of a "
            ".yaml file"
        )
    return files[name]


def _folder() -> Path:
    return Path(str(resources.files("rl") / "recipes"))


def _read(path: Path) -> DictConfig:
    try:
        loaded = OmegaConf.load(path)
    except Exception as error:  # YAML errors have many classes; all are the user's file
        raise ConfigError(_unreadable(path, error)) from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected a mapping of settings, got {type(loaded).__name__}")
    return loaded


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

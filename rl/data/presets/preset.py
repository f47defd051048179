"""What a preset says: where a published data set is, how its columns become prompts, and which rewards fit it.

A preset is one YAML file in this folder, named after it. A user's own is a YAML file anywhere. Nothing else lists them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from rl.data.values import shown
from rl.errors import ConfigError, first_line
from rl.registry import close_to
from rl.types import Task

SPLITS = ("train", "val")
SUFFIXES = (".yaml", ".yml")
_OTHER_ROWS = {"hub", "columns"}  # a preset that gives one of these over its base reads other rows
_PUBLISHED = {"layouts", "data_sources", "unseen"}


@dataclass(frozen=True, slots=True)
class Part:
    """One split. Example: ``Part("main", "test", ("test.jsonl",))``.

    config, split  its names on the hub; no split: the hub has none of these rows
    files          patterns of its files in a folder; the first pattern that fits any counts
    """

    config: str | None = None
    split: str | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A published data set, ready to use.

    about    what it is, in a few words
    hub      its name on the Hugging Face hub; None: it is not there in a form that can be read
    get      a shell command that downloads it; empty: the hub's own
    parts    ``train``, ``val``, or one of them
    columns  our name of a column -> the names that files give it, nested ones with dots; the first that has a value counts
    layouts  the columns of its rows in each form that they are published in; none: its rows are not checked
    data_sources  names that verl's column ``data_source`` gives it, beside ``hub``
    drop     columns that are left out
    needs    columns that a row must have a value in; other rows are left out, and counted in a note
    lengths  column -> how many items a row must have there; other rows are left out, and counted
    prompts  name -> the message as a template of columns; None: the row's own message. The first is the default
    rewards  reward -> weight: a mix that fits. ``settings``: of these rewards
    lines    columns with a list of texts that becomes one text, a line each
    texts    of a JSON file that lists texts: the column that each becomes
    paper    whose set-up this follows
    unseen   where its columns were read instead, if no published row was at hand when the preset was written; else empty
    """

    name: str
    about: str
    licence: str
    paper: str
    task: Task
    parts: Mapping[str, Part]
    prompts: Mapping[str, str | None]
    hub: str | None = None
    get: str = ""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    layouts: tuple[tuple[str, ...], ...] = ()
    data_sources: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    lengths: Mapping[str, int] = field(default_factory=dict)
    rewards: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    texts: str | None = None
    unseen: str = ""

    @property
    def download(self) -> str:
        """A command that fetches its files into a folder."""
        return self.get or f"hf download {self.hub} --repo-type dataset --local-dir FOLDER"

    def part(self, split: str) -> tuple[str, Part]:
        """The part for ``split``; a preset with one part has that one whichever is asked for."""
        name = split if split in self.parts else next(iter(self.parts))
        return name, self.parts[name]

    def prompt(self, name: str | None) -> str | None:
        """The template of a prompt; None: the row's own message. Raises ConfigError for a name that is none of its own."""
        if name is None:
            return next(iter(self.prompts.values()))
        if name not in self.prompts:
            raise ConfigError(
                f"data preset {self.name}: prompt={shown(name)}; allowed: {', '.join(self.prompts)}"
                f"{close_to(str(name), self.prompts)}"
            )
        return self.prompts[name]


def preset_names() -> list[str]:
    """Of the presets that are shipped, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


@cache
def load_preset(name_or_path: str) -> Preset:
    """A shipped preset by its name, or a YAML file. Raises ConfigError, one line with the file and what is wrong there."""
    given = _merged(name_or_path)
    known = {item.name for item in fields(Preset)} - {"name", "parts"} | {"splits"}
    where = f"data preset {name_or_path}"
    for key in given:
        if key not in known:
            raise ConfigError(
                f"{where}: unknown key {shown(key)}; allowed: {', '.join(sorted(known))}{close_to(str(key), known)}"
            )
    for key in ("about", "licence", "paper", "task", "splits", "prompts"):
        if not given.get(key):
            raise ConfigError(f"{where}: has no {key}; docs/data_published.md shows a whole preset")
    try:
        return _preset(where, Path(name_or_path).stem if _is_file_name(name_or_path) else name_or_path, given)
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{where}: {first_line(error)}; docs/data_published.md shows a whole preset") from error


def _preset(where: str, name: str, given: Mapping[str, Any]) -> Preset:
    if given["task"] not in tuple(Task):
        raise ConfigError(f"{where}: task={shown(given['task'])}; allowed: {', '.join(Task)}")
    parts = {split: _part(where, split, value) for split, value in given["splits"].items()}
    plain = {
        key: given[key] for key in ("about", "licence", "paper", "hub", "get", "texts", "unseen") if given.get(key)
    }
    return Preset(
        name=name,
        task=Task(given["task"]),
        parts=parts,
        prompts={str(key): None if value is None else str(value) for key, value in given["prompts"].items()},
        columns={key: _texts(value) for key, value in (given.get("columns") or {}).items()},
        layouts=tuple(_texts(layout) for layout in given.get("layouts") or ()),
        data_sources=_texts(given.get("data_sources") or ()),
        drop=_texts(given.get("drop") or ()),
        lines=_texts(given.get("lines") or ()),
        needs=_texts(given.get("needs") or ()),
        lengths={key: int(value) for key, value in (given.get("lengths") or {}).items()},
        rewards={key: float(value) for key, value in (given.get("rewards") or {}).items()},
        settings=given.get("settings") or {},
        **plain,
    )


def _part(where: str, split: str, value: Mapping[str, Any]) -> Part:
    if split not in SPLITS:
        raise ConfigError(f"{where}: splits.{split}; allowed: {', '.join(SPLITS)}")
    for key in value:
        if key not in ("config", "split", "files"):
            raise ConfigError(f"{where}: splits.{split}.{key}; allowed: config, split, files")
    return Part(value.get("config"), value.get("split"), _texts(value.get("files") or ()))


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def preset_files(path: str) -> list[Path]:
    """The files of a user's preset: its own, and those of the user's that it stands on. Raises ConfigError."""
    return [file for file, _ in _chain(path, ()) if file.parent != _folder()]


def whole_preset(path: str) -> str:
    """A user's preset as one file that stands on no other. Raises ConfigError."""
    return yaml.safe_dump(_merged(path), sort_keys=False, allow_unicode=True)


def _merged(name_or_path: str) -> dict[str, Any]:
    """A file's keys over those of its ``base``. Other columns are other rows: what was published of the base's is no more."""
    found: dict[str, Any] = {}
    for _, own in reversed(_chain(name_or_path, ())):
        if own.keys() & _OTHER_ROWS:
            found = {key: value for key, value in found.items() if key not in _PUBLISHED}
        found |= own
    return found


def _chain(name_or_path: str, above: tuple[str, ...]) -> list[tuple[Path, dict[str, Any]]]:
    """A file and its keys, then those of its ``base``, which is named from the file's own folder."""
    if name_or_path in above:
        raise ConfigError(f"data preset {above[0]}: base leads back to {name_or_path}; let one of them stand alone")
    path = Path(name_or_path) if _is_file_name(name_or_path) else _folder() / f"{name_or_path}.yaml"
    if not os.path.isfile(path):
        if _is_file_name(name_or_path):
            raise ConfigError(f"data preset: no such file: {name_or_path}")
        names = preset_names()
        raise ConfigError(
            f"data preset {shown(name_or_path)}: unknown; allowed: {', '.join(names)}, or the path of a .yaml file"
            f"{close_to(name_or_path, names)}"
        )
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"data preset {path}: not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"data preset {path}: expected a mapping, got {type(found).__name__}")
    base = found.pop("base", None)
    if base is None:
        return [(path, found)]
    under = os.path.normpath(path.parent / str(base)) if _is_file_name(str(base)) else str(base)
    return [(path, found), *_chain(under, (*above, name_or_path))]


def _is_file_name(name: str) -> bool:
    return Path(name).suffix in SUFFIXES


def _folder() -> Path:
    return Path(str(resources.files("rl") / "data" / "presets"))

"""Rows of a preset: from a file or folder that the user has, or from the hub, with our names for their columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rl.config import SourceConfig
from rl.data.files import Row, read_rows, require_path
from rl.data.places import ROOT, ImagePlaces
from rl.data.presets.identity import at, checked
from rl.data.presets.preset import SPLITS, SUFFIXES, Preset, load_preset, preset_names
from rl.data.values import is_missing, shown
from rl.errors import ConfigError, DataError
from rl.tasks import GENERATORS

ARGS = ("prompt", "template", "name", "lengths", "check_images", ROOT)
_ALL_LENGTHS = "args: {{lengths: {{}}}} keeps them"  # in a note, which is formatted once more
_SAVED = ("dataset_dict.json", "state.json")  # of datasets.save_to_disk


@dataclass(frozen=True, slots=True)
class Opened:
    """Rows of one source, still as they are stored.

    label   stands for them in messages
    name    of the data set: the source of its prompts
    places  where images may lie that rows name
    source  with the task, template and arguments that count
    rows    (where, id, row)
    """

    label: str
    name: str
    places: ImagePlaces
    source: SourceConfig
    rows: Iterator[tuple[str, str, Row]]


def preset_of(source: SourceConfig) -> Preset | None:
    """The preset that a source names; None: a generator, a file or a folder.

    A name that a generator has too is the preset where ``path`` says where its rows are, or the hub has them.
    Raises ConfigError for a preset's file that cannot be used.
    """
    name = source.source
    if Path(name).suffix not in SUFFIXES and name not in preset_names():
        return None
    preset = load_preset(name)
    return None if name in GENERATORS and source.path is None and preset.hub is None else preset


def rows_path(source: SourceConfig) -> Path | None:
    """Where a source's rows lie on this machine; None: a generator, or a preset whose rows come from the hub."""
    if preset_of(source) is not None:
        return None if source.path is None else Path(source.path)
    return None if source.source in GENERATORS else Path(source.source)


def open_preset(preset: Preset, source: SourceConfig, counts: Counter[str]) -> Opened:
    """Raises ConfigError for a wrong argument, DataError where the rows are not there.

    counts  gets how many rows were left out, when they have been read
    """
    for key in source.args:
        if key not in ARGS:
            raise ConfigError(f"data preset {preset.name}: unknown argument {key!r}; allowed: {', '.join(ARGS)}")
    given = source.args.get("template")
    template = preset.prompt(source.args.get("prompt")) if given is None else given
    args = {key: value for key, value in source.args.items() if key in ("check_images", ROOT)}
    args |= {"name": source.args.get("name") or preset.name, "template": template}
    told = replace(source, task=source.task or str(preset.task), args=args)
    if source.path is None:
        label, rows, folder = _of_hub(preset, source)
    else:
        path = Path(source.path)
        split, part = preset.part(source.split)
        if source.split not in SPLITS and not _is_saved(path):
            raise ConfigError(
                f"data preset {preset.name}: split={shown(source.split)}; allowed: {', '.join(preset.parts)}"
            )
        if source.config is not None or source.revision is not None:
            raise ConfigError(
                f"data preset {preset.name}: config={source.config}, revision={source.revision}: of the hub's rows, and "
                f"path={path} names others; leave them out"
            )
        require_path(path)
        label, folder = str(path), path if path.is_dir() else path.parent
        rows = _of_files(preset, _files(preset, path, split, part.files), source.split, path.is_dir())
    lengths = _lengths(preset, source.args.get("lengths", preset.lengths))
    renamed = _kept(_renamed(preset, rows), preset.needs, lengths, counts)
    return Opened(label, str(args["name"]), ImagePlaces.of(folder / "rows", args), told, renamed)


def preset_rows(preset: Preset, source: SourceConfig) -> Iterator[tuple[str, Row]]:
    """(where, row) of a source, with the preset's columns. Raises ConfigError, DataError."""
    return ((where, row) for where, _, row in open_preset(preset, source, Counter()).rows)


def _lengths(preset: Preset, given: Any) -> Mapping[str, int]:
    if isinstance(given, Mapping) and all(isinstance(count, int) for count in given.values()):
        return given
    raise ConfigError(
        f"data preset {preset.name}: lengths={shown(given)}; allowed: column and number of items, e.g. {{numbers: 3}}, or {{}}"
    )


def _files(preset: Preset, path: Path, split: str, patterns: Iterable[str]) -> list[Path]:
    """A file; a folder of datasets.save_to_disk; or the files of a split in the published layout."""
    if path.is_file() or _is_saved(path):
        return [path]
    for pattern in patterns:
        found = sorted(file for file in path.glob(pattern) if file.is_file())
        if found:
            return found
    raise DataError(
        f"data preset {preset.name}: path={path}: no file of split {split} in it; it has one of {', '.join(patterns)} "
        f"after: {preset.download}"
    )


def numbered(base: str, rows: Iterable[tuple[str, Row]]) -> Iterator[tuple[str, str, Row]]:
    """(where, id, row) of (where, row)."""
    return ((where, f"{base}/{number}", row) for number, (where, row) in enumerate(rows))


def _is_saved(path: Path) -> bool:
    return any((path / name).is_file() for name in _SAVED)


def _of_files(preset: Preset, files: Iterable[Path], split: str, in_folder: bool) -> Iterator[tuple[str, str, Row]]:
    for file in files:
        rows = _of_texts(file, preset.texts) if preset.texts is not None and file.suffix == ".json" else None
        base = f"{preset.name}/{split if file.is_dir() else file.stem}"
        told = numbered(base, read_rows(file, split) if rows is None else rows)
        yield from checked(preset, file, told, in_folder)


def _of_texts(file: Path, column: str) -> Iterator[tuple[str, Row]] | None:
    """Rows of a JSON list of texts; None where it lists something else."""
    try:
        texts = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None  # read_rows says what is wrong there
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        return None
    return ((f"{file}: row {number}", {column: text, "file": file.stem}) for number, text in enumerate(texts, 1))


def _of_hub(preset: Preset, source: SourceConfig) -> tuple[str, Iterator[tuple[str, str, Row]], Path]:
    """A split that is neither train nor val is the hub's own name of one."""
    split, part = preset.part(source.split)
    config, name = source.config or part.config, part.split if source.split in SPLITS else source.split
    if preset.hub is None or name is None:
        raise DataError(
            f"data preset {preset.name}: its {split} rows are on no hub in a form that is read; download them with "
            f"`{preset.download}`, and set path: FOLDER"
        )
    from rl.data import hub

    try:
        found = hub.rows(preset.hub, config, name, source.revision)
    except DataError as error:
        raise DataError(f"{error}; or set path: FOLDER to a copy") from error
    return found.name.short, numbered(f"{preset.name}/{name}", found), found.folder


def _renamed(preset: Preset, rows: Iterable[tuple[str, str, Row]]) -> Iterator[tuple[str, str, Row]]:
    """With our columns beside theirs."""
    for where, identity, row in rows:
        told = {key: value for key, value in row.items() if key not in preset.drop}
        for column, names in preset.columns.items():
            found = next((value for value in (at(row, name) for name in names) if not is_missing(value)), None)
            if found is not None:
                told[column] = found
        for column in preset.lines:
            if isinstance(told.get(column), list):
                told[column] = "\n".join(map(str, told[column]))
        yield where, identity, told


def _kept(
    rows: Iterable[tuple[str, str, Row]], needs: Iterable[str], lengths: Mapping[str, int], counts: Counter[str]
) -> Iterator[tuple[str, str, Row]]:
    """Rows that have what the preset needs. Others are counted."""
    for where, identity, row in rows:
        missing = next((name for name in needs if is_missing(row.get(name))), None)
        if missing is not None:
            counts[f"{{count}} rows were left out: they have no {missing}"] += 1
            continue
        wrong = next((name for name, count in lengths.items() if _count(where, name, row.get(name)) != count), None)
        if wrong is None:
            yield where, identity, row
            continue
        counts[f"{{count}} rows were left out: {wrong} has not {lengths[wrong]} items there; {_ALL_LENGTHS}"] += 1


def _count(where: str, column: str, value: Any) -> int:
    """How many items a list has, also one that is written as a text: ``[1, 2]`` or ``1,2``."""
    if isinstance(value, str):
        return len([item for item in value.strip(" []()").split(",") if item.strip()])
    if isinstance(value, list):
        return len(value)
    raise DataError(f"{where}: column {column}: expected a list, got {shown(value)}")

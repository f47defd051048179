"""Whether rows are those of the preset that a source names: a folder of another data set may have files of the same names.

Three things tell: the card that ``datasets`` saves beside its rows names the repository they came from, rows of verl's
layout name their data set in ``data_source``, and the columns. Two sets with the same columns cannot be told apart by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rl.data.files import Row
from rl.data.presets.preset import Preset, load_preset, preset_names
from rl.data.values import is_missing, shown
from rl.errors import DataError

CARD = "dataset_info.json"  # of datasets.save_to_disk
SOURCE = "data_source"  # verl's column
_CAME_FROM = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)@")
_COLUMNS_SHOWN = 8

Numbered = Iterable[tuple[str, str, Row]]


def at(row: Any, name: str) -> Any:
    """A column by its name; else what dotted parts lead to, with numbers for the places of a list."""
    if isinstance(row, dict) and name in row:
        return row[name]
    for key in name.split("."):
        if isinstance(row, dict):
            row = row.get(key)
        elif isinstance(row, list) and key.lstrip("-").isdigit() and -len(row) <= int(key) < len(row):
            row = row[int(key)]
        else:
            return None
    return row


def checked(preset: Preset, file: Path, rows: Numbered, folder: bool) -> Iterator[tuple[str, str, Row]]:
    """The same rows. Raises DataError at the first where it is another data set's.

    folder: the source is one in the published layout, so that its rows must have published columns. Those of a single file
    may be the user's own, unless they are another preset's.
    """
    for number, (where, identity, row) in enumerate(rows):
        if number == 0:
            _check(preset, file, where, row, folder)
        yield where, identity, row


def _check(preset: Preset, file: Path, where: str, row: Row, folder: bool) -> None:
    if not preset.layouts:
        return
    others = [load_preset(name) for name in preset_names() if name != preset.name]
    found = _of_card(preset, file, others) or _of_source(preset, row, others) or _of_columns(preset, row, others)
    if found is not None:
        theirs, why = found
        raise DataError(f"{where}: data preset {preset.name}: {why}; use source: {theirs}, {_other_ways(preset)}")
    if folder and not _fits(preset, row):
        raise DataError(
            f"{where}: data preset {preset.name}: has columns {_listed(row)}; its published rows have {_wanted(preset)}; "
            f"use {_other_ways(preset)}"
        )


def _of_card(preset: Preset, file: Path, others: Iterable[Preset]) -> tuple[str, str] | None:
    """The repository that a saved folder came from, or that of its splits."""
    cards = [file / CARD, *sorted(file.glob(f"*/{CARD}"))] if file.is_dir() else []
    named = {name.lower() for card in cards for name in _CAME_FROM.findall(_text(card))}
    if not named or (preset.hub or "").lower() in named:
        return None
    found = next((other for other in others if other.hub is not None and other.hub.lower() in named), None)
    return None if found is None else (found.name, f"{CARD} says that the rows came from {found.hub}")


def _of_source(preset: Preset, row: Row, others: Iterable[Preset]) -> tuple[str, str] | None:
    said = row.get(SOURCE)
    if not isinstance(said, str) or said in _names(preset):
        return None
    found = next((other for other in others if said in _names(other)), None)
    return None if found is None else (found.name, f"its {SOURCE} is {shown(said)}")


def _of_columns(preset: Preset, row: Row, others: Iterable[Preset]) -> tuple[str, str] | None:
    """The presets with the most of the row's columns, where that is more than those of the one that was named."""
    own, fits = _fits(preset, row), {other.name: _fits(other, row) for other in others}
    theirs = max(fits.values(), key=len)
    if not theirs > own or SOURCE in theirs:  # verl's layout is everyone's: only its ``data_source`` tells
        return None
    names = " or ".join(name for name, columns in fits.items() if columns == theirs)
    return names, f"its columns {_listed(row)} are those of {names}"


def _fits(preset: Preset, row: Row) -> frozenset[str]:
    """The largest of its layouts that the row has; empty: none."""
    have = [layout for layout in preset.layouts if all(not is_missing(at(row, name)) for name in layout)]
    return frozenset(max(have, key=len, default=()))


def _other_ways(preset: Preset) -> str:
    return f"source: FILE for rows of your own, or the published files ({preset.download})"


def _names(preset: Preset) -> set[str]:
    return {*preset.data_sources, *([] if preset.hub is None else [preset.hub])}


def _listed(row: Row) -> str:
    names = list(row)
    return ", ".join(shown(name, 40) for name in names[:_COLUMNS_SHOWN]) + (
        ", ..." if len(names) > _COLUMNS_SHOWN else ""
    )


def _wanted(preset: Preset) -> str:
    return " or ".join(", ".join(layout) for layout in preset.layouts)


def _text(card: Path) -> str:
    try:
        return card.read_text("utf-8", errors="replace")
    except OSError:
        return ""

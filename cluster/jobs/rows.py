"""Files that rows name, and copies of rows that name their images elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rl.data.files import Row, read_rows
from rl.errors import DataError

IMAGES = ("image", "images")
TURNS = ("messages", "prompt")
_PART_KEYS = ("image", "image_url", "url", "path")
_LONGEST = 4000  # characters: what is longer is an encoded picture

Change = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class RowNames:
    """images: name in a row -> file. rewards: names in the column ``rewards``."""

    images: dict[str, Path] = field(default_factory=dict)
    rewards: dict[str, None] = field(default_factory=dict)  # a set in order


def names_in_rows(key: str, source: Path, split: str, limit: int | None) -> RowNames:
    """What the rows of a file or folder name; an absolute name without a file here is left out.

    key: the setting, for errors. Raises DataError: rows that cannot be read, a relative image that is not here.
    """
    folder = source if source.is_dir() else source.parent
    found, elsewhere = RowNames(), set()
    for where, row in islice(read_rows(source, split), limit):
        rewards = row.get("rewards")
        names = rewards.split(",") if isinstance(rewards, str) else rewards if isinstance(rewards, list) else ()
        found.rewards.update(dict.fromkeys(name.strip() for name in names if isinstance(name, str)))
        own, others = _named(row, IMAGES), _named(row, TURNS)
        for name in [*own, *others]:
            if name in found.images or name in elsewhere:
                continue
            if _is_file(folder / name):
                found.images[name] = folder / name
            elif name in own and not Path(name).is_absolute():
                raise DataError(
                    f"{key}: {where}: image {name}: no such file here; it is taken from {folder.absolute()}"
                )
            else:
                elsewhere.add(name)
    return found


def write_renamed(source: Path, target: Path, names: Mapping[str, str]) -> None:
    """Copy a file of rows with other names for its images, or change the copy of a folder, which is there."""
    if source.is_dir():
        for file in target.rglob("*.arrow"):
            _rename_arrow(file, names)
        return
    target.unlink(missing_ok=True)  # its mode may be read-only
    if source.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(_rename_table(pq.ParquetFile(source).read(), names), target)
    else:
        _rename_jsonl(source, target, names)


def _named(row: Row, columns: tuple[str, ...]) -> list[str]:
    found: list[str] = []

    def note(name: str) -> str:
        found.append(name)
        return name

    for column in columns:
        _changed(column, row.get(column), note)
    return [name for name in found if _may_be_path(name)]


def _changed(column: str, value: Any, change: Change) -> Any:
    """A cell with every image's name changed."""
    return _in_image(value, change) if column in IMAGES else _in_turns(value, change)


def _in_image(value: Any, change: Change) -> Any:
    """A name, ``{"bytes", "path"}`` as Hugging Face writes it, or a list of these. Bytes go before a path."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_in_image(item, change) for item in value]
    if isinstance(value, Mapping) and not value.get("bytes"):
        return {key: _in_image(item, change) if key in _PART_KEYS else item for key, item in value.items()}
    return value


def _in_turns(value: Any, change: Change) -> Any:
    """Parts of chat turns such as ``{"type": "image", "image": "1.png"}``; other texts are none of ours."""
    if not isinstance(value, list):
        return value
    return [
        {
            **turn,
            "content": [_in_image(part, change) if isinstance(part, Mapping) else part for part in turn["content"]],
        }
        if isinstance(turn, Mapping) and isinstance(turn.get("content"), list)
        else turn
        for turn in value
    ]


def _may_be_path(name: str) -> bool:
    return bool(name.strip()) and len(name) <= _LONGEST and "://" not in name and not name.startswith("data:")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _rename_jsonl(source: Path, target: Path, names: Mapping[str, str]) -> None:
    """Lines without a new name stay to the byte; also those past ``limit``, which need not be JSON."""
    how: Any = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    with source.open(**how) as lines, target.open("w", **how) as out:
        out.writelines(_renamed_line(line, names) for line in lines)


def _renamed_line(line: str, names: Mapping[str, str]) -> str:
    try:
        row = json.loads(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return line
    if not isinstance(row, dict):
        return line
    there = {column: _changed(column, row[column], _by(names)) for column in (*IMAGES, *TURNS) if column in row}
    same = all(row[column] == value for column, value in there.items())
    return line if same else json.dumps({**row, **there}) + "\n"


def _rename_arrow(file: Path, names: Mapping[str, str]) -> None:
    import pyarrow as pa

    with pa.OSFile(str(file), "rb") as data, pa.ipc.open_stream(data) as stream:
        table = _rename_table(stream.read_all(), names)
    beside = file.with_suffix(".renamed")
    with pa.OSFile(str(beside), "wb") as data, pa.ipc.new_stream(data, table.schema) as out:
        out.write_table(table)
    os.replace(beside, file)


def _rename_table(table: Any, names: Mapping[str, str]) -> Any:
    """Other columns, types and metadata stay as they are."""
    import pyarrow as pa

    for column in (*IMAGES, *TURNS):
        index = table.schema.get_field_index(column)
        if index >= 0:
            field = table.schema.field(index)
            cells = table.column(index).to_pylist()
            there = [_changed(column, cell, _by(names)) for cell in cells]
            if there != cells:
                table = table.set_column(index, field, pa.array(there, type=field.type))
    return table


def _by(names: Mapping[str, str]) -> Change:
    return lambda name: names.get(name, name)

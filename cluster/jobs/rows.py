"""Files that rows name, and copies of rows that name their images elsewhere."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rl.config import SourceConfig
from rl.data.chat import MESSAGE_COLUMNS as CHATS
from rl.data.chat import TURN_LISTS
from rl.data.files import LIST_KEYS, Row, read_rows
from rl.data.pictures import COLUMNS as IMAGES
from rl.data.pictures import looks_like_picture, may_name_picture
from rl.data.places import ImagePlaces
from rl.data.presets import preset_of, preset_rows
from rl.errors import DataError
from rl.pixels import require_image

_PART_KEYS = ("image", "image_url", "input_image", "url", "path", "source")
_LONGEST = 4000  # characters: what is longer is an encoded picture
_ENCODED = re.compile(r"[A-Za-z0-9+/\s_-]{41,}={0,2}\s*")  # may be one in base64

Change = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class RowNames:
    """images: name in a row -> file. rewards: names in the column ``rewards``."""

    images: dict[str, Path] = field(default_factory=dict)
    rewards: dict[str, None] = field(default_factory=dict)  # a set in order


def names_in_rows(key: str, path: Path, source: SourceConfig, shared: Sequence[Path] = ()) -> RowNames:
    """What the rows of a file or folder name; an absolute name without a file here is left out.

    key: the setting, for errors. shared: folders in which images may lie too. Raises DataError: rows that cannot be read,
    a relative image that is not here, one that
    lies where rows may not name it, and one that is no image. In a column that need not have images, such a name is a text.
    """
    places = ImagePlaces.of(path, source.args, shared)
    folder = places.folder
    found, elsewhere = RowNames(), set()
    preset = preset_of(source)
    rows = read_rows(path, source.split) if preset is None else preset_rows(preset, source)
    for where, row in islice(rows, source.limit):
        rewards = row.get("rewards")
        names = rewards.split(",") if isinstance(rewards, str) else rewards if isinstance(rewards, list) else ()
        found.rewards.update(dict.fromkeys(name.strip() for name in names if isinstance(name, str)))
        for column, name in _named(row):
            if name in found.images or name in elsewhere:
                continue
            if _is_file(folder / name):
                try:
                    require_image(places.path_of(name))
                    found.images[name] = folder / name
                except DataError as error:
                    if column in IMAGES or looks_like_picture(name):
                        raise DataError(f"{key}: {where}: column {column}: {error}") from error
                    elsewhere.add(name)
            elif column in IMAGES and not Path(name).is_absolute() and not _ENCODED.fullmatch(name):
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
    elif source.suffix == ".json" and (content := _whole_json(source)) is not None:
        target.write_text(json.dumps(_renamed_json(content, names)), "utf-8")
    else:
        _rename_jsonl(source, target, names)


def _named(row: Row) -> list[tuple[str, str]]:
    """(column, name) of what may be an image."""
    found: list[tuple[str, str]] = []
    for column, value in row.items():

        def note(name: str, column: str = column) -> str:
            found.append((column, name))
            return name

        _changed(column, value, note)
    return [(column, name) for column, name in found if _may_be_path(name)]


def _changed(column: str, value: Any, change: Change) -> Any:
    """A cell with the name of every image in it changed."""
    if column in IMAGES or may_name_picture(column):
        return _in_image(value, change)
    return _in_chat(value, change) if column in CHATS else _in_stored(value, change)


def _in_image(value: Any, change: Change) -> Any:
    """A name, ``{"bytes", "path"}`` as Hugging Face writes it, or a list of these. Bytes go before a path."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_in_image(item, change) for item in value]
    if isinstance(value, Mapping) and not value.get("bytes"):
        return {key: _in_image(item, change) if key in _PART_KEYS else item for key, item in value.items()}
    return value


def _in_stored(value: Any, change: Change) -> Any:
    """Images as Hugging Face writes them, which are images in any column, and those of a mapping's own image fields."""
    if isinstance(value, Mapping):
        if set(value) == {"bytes", "path"}:
            return _in_image(value, change)
        return {key: _in_image(item, change) if may_name_picture(str(key)) else item for key, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [_in_stored(item, change) for item in value]
    return value


def _in_chat(value: Any, change: Change) -> Any:
    """Parts of chat turns such as ``{"type": "image", "image": "1.png"}``, also of turns as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")) and '"content"' in value:
        try:
            turns = json.loads(value)
        except (ValueError, RecursionError):
            return value
        there = _in_chat(turns, change)
        return value if there == turns else json.dumps(there)
    if isinstance(value, list):
        return [_in_chat(item, change) for item in value]
    if isinstance(value, Mapping):
        value = {key: _in_image(item, change) if key in IMAGES else item for key, item in value.items()}
        value |= {key: _in_chat(value[key], change) for key in TURN_LISTS if key in value}
    if isinstance(value, Mapping) and isinstance(value.get("content"), list | Mapping):
        content = value["content"]
        parts = [content] if isinstance(content, Mapping) else content
        there = [_in_image(part, change) if isinstance(part, Mapping) else part for part in parts]
        return {**value, "content": there[0] if isinstance(content, Mapping) else there}
    return value


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
    there = _renamed_row(row, names)
    return line if there == row else json.dumps(there) + "\n"


def _renamed_row(row: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {column: _changed(column, value, _by(names)) for column, value in row.items()}


def _whole_json(file: Path) -> Any:
    """The content of a JSON file; None where it holds JSON Lines."""
    try:
        return json.loads(file.read_text("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def _renamed_json(content: Any, names: Mapping[str, str]) -> Any:
    """A list of rows, an object that holds it, or one row."""
    if isinstance(content, list):
        return [_renamed_row(row, names) if isinstance(row, dict) else row for row in content]
    key = next((key for key in LIST_KEYS if isinstance(content.get(key), list)), None)
    return _renamed_row(content, names) if key is None else {**content, key: _renamed_json(content[key], names)}


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

    for index, column in enumerate(table.schema):
        if (
            column.name not in (*IMAGES, *CHATS)
            and not may_name_picture(column.name)
            and not _stores_images(column.type)
        ):
            continue
        cells = table.column(index).to_pylist()
        there = [_changed(column.name, cell, _by(names)) for cell in cells]
        if there != cells:
            table = table.set_column(index, column, pa.array(there, type=column.type))
    return table


def _stores_images(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _stores_images(kind.value_type)
    names = {part.name for part in kind} if pa.types.is_struct(kind) else set()
    return names == {"bytes", "path"} or any(map(may_name_picture, names))


def _by(names: Mapping[str, str]) -> Change:
    return lambda name: names.get(name, name)

"""Raw rows out of files: JSON Lines, JSON, Parquet, and folders written by Hugging Face ``datasets.save_to_disk``.

A row has the values that the file has: numbers, texts, bytes, dates, lists and mappings, nested as they are. A value that
the file does not know, NaN among them, is None. Numbers in single or half precision are the shortest decimal that stands for
them there: 0.1, and not 0.10000000149011612.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl.data.values import MAX_DEPTH, listed, shown, too_deep
from rl.errors import DataError, first_line

Row = Mapping[str, Any]
KINDS = ".jsonl, .json or .parquet file, or a folder written by datasets.save_to_disk"

SPLIT_NAMES = {"train": ("train",), "val": ("val", "validation", "valid", "dev", "test")}
LIST_KEYS = ("data", "rows", "examples", "instances")  # of a JSON object that holds the rows
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_DIGIT = re.compile(r"[1-9]")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises DataError for a name that stands twice: Python would keep the last, other readers the first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise DataError(f"the name {shown(twice)} stands twice in one object, {shown(pairs)}; keep one")
    return found


def _number(text: str) -> float:
    """Raises DataError for a number that is another one as a float: infinity, or 0."""
    value = float(text)
    if (not value and _DIGIT.search(text.lower().partition("e")[0])) or value in (math.inf, -math.inf):
        raise DataError(f"no float can hold the number {shown(text, 40)}; write it as a text")
    return value


_JSON = json.JSONDecoder(
    parse_constant=lambda name: None if name == "NaN" else float(name),
    parse_float=_number,
    object_pairs_hook=_object,
)


def read_rows(path: Path, split: str = "train") -> Iterator[tuple[str, Row]]:
    """Yield (where, row), e.g. ``("data.jsonl: row 3", {...})``; rows count from 1.

    split   picks the part of a folder that holds several; other files are taken whole
    Raises DataError where the path is missing, of another kind, unreadable, or holds no rows.
    """
    require_path(path)
    if path.is_dir():
        rows = _folder_rows(path, split)
    elif path.suffix == ".jsonl":
        rows = _jsonl_rows(path)
    elif path.suffix == ".json":
        rows = _json_rows(path)
    elif path.suffix == ".parquet":
        rows = _parquet_rows(path)
    else:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}; allowed: a {KINDS}")
    number = 0
    for number, row in enumerate(rows, 1):
        yield f"{path}: row {number}", row
    if not number:
        raise DataError(f"{path}: empty: it has no rows")


def require_path(path: Path) -> None:
    """Raises DataError where nothing is there; also for a name that no file can have: too long, or with a zero byte."""
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file or folder; allowed: a {KINDS}")
    if not (os.path.isfile(path) or os.path.isdir(path)):
        raise DataError(f"{path}: not a regular file; allowed: a {KINDS}")


def _require_inside(path: Path, folder: Path) -> Path:
    """A file or folder that a data set's own folder names. Raises DataError where a link leads out of it."""
    if not os.path.realpath(path).startswith(os.path.realpath(folder).rstrip("/") + "/"):
        raise DataError(f"{path}: a link that leads out of {folder}; copy what it leads to there")
    require_path(path)
    return path


def _read_json_text(text: str) -> Any:
    """Raises DataError for what JSON may say and a row cannot hold; ValueError or RecursionError for what is not JSON."""
    content = _JSON.decode(text)
    if text.count("[") + text.count("{") > MAX_DEPTH and too_deep(content):
        raise ValueError(f"nested too deeply; allowed: {MAX_DEPTH} levels")
    return content


def _jsonl_rows(path: Path) -> Iterator[Row]:
    """Blank lines are passed over, and not counted as rows."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _json_row(f"{path}: line {number}", line)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _json_row(where: str, line: str) -> Row:
    row = _checked_row(where, _parse(where, line))
    if _ESCAPED_SURROGATE.search(line):
        check_text(where, row)
    return row


def _parse(where: str, text: str) -> Any:
    """JSON on one line. NaN is null."""
    try:
        return _read_json_text(text)
    except json.JSONDecodeError as error:
        hint = "; a line must hold a whole object: name a file with one list of objects .json"
        cut = error.pos >= len(text.rstrip()) or text.lstrip().startswith("[")
        what = error.msg.removesuffix(" at")
        raise DataError(f"{where}: not JSON: {what} at column {error.pos + 1}{hint if cut else ''}") from error
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {first_line(error)}") from error


def _checked_row(where: str, row: Any) -> Row:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object, got {_kind(row)}: {shown(row)}")
    return row


def _json_rows(path: Path) -> Iterator[Row]:
    """A list of objects, an object that holds it as ``data``, or JSON Lines under another name."""
    text = _read_text(path)
    try:
        content = _read_json_text(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            yield from _jsonl_rows(path)
            return
        what = error.msg.removesuffix(" at")
        raise DataError(f"{path}: line {error.lineno}: not JSON: {what} at column {error.colno}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {first_line(error)}") from error
    rows = content
    if isinstance(content, dict):
        rows = next((content[key] for key in LIST_KEYS if isinstance(content.get(key), list)), [content])
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of JSON objects, got {_kind(content)}")
    suspicious = _ESCAPED_SURROGATE.search(text)
    for number, row in enumerate(rows, 1):
        row = _checked_row(f"{path}: row {number}", row)
        if suspicious:
            check_text(f"{path}: row {number}", row)
        yield row


def check_text(where: str, row: Row) -> None:
    """JSON can write half of a surrogate pair, as a text cut in the middle of an emoji has it. No tokenizer takes that."""
    for name, text in _texts(row):
        found = _SURROGATE.search(text)
        if found:
            half = f"\\u{ord(found[0]):04x}"
            raise DataError(
                f"{where}: column {name.encode(errors='backslashreplace').decode()}: {half} at character "
                f"{found.start() + 1} is half of a surrogate pair, which is no text; write the whole character, or drop the row"
            )


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(column, text) of every text in a row, names of columns among them."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{name}.{key}" if name else key
            yield inner, key
            yield from _texts(item, inner)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{name}[{index}]")


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    from rl.data.arrow import batch_rows

    with _readable_as("Parquet", path), pq.ParquetFile(path) as file:
        first = 1
        for batch in file.iter_batches(batch_size=1024):
            yield from batch_rows(str(path), batch, first)
            first += batch.num_rows


@contextmanager
def _readable_as(kind: str, path: Path) -> Iterator[None]:
    """What Arrow raises for damaged bytes is not its own errors alone: a name of a column may be no UTF-8."""
    import pyarrow as pa

    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, LookupError, ArithmeticError, MemoryError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable {kind} file: {first_line(error)}") from error


def _folder_rows(path: Path, split: str) -> Iterator[Row]:
    """``state.json`` names the Arrow files of a data set; ``dataset_dict.json`` names its splits, one folder each."""
    index = path / "dataset_dict.json"
    if index.is_file():  # of splits, none of which has splits of its own
        path = _split_folder(path, _read_json(index).get("splits"), split)
    if not (path / "state.json").is_file():
        raise DataError(f"{path}: neither state.json nor dataset_dict.json in it; allowed: a {KINDS}")
    state = _read_json(path / "state.json")
    try:
        names = [str(item["filename"]) for item in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path / 'state.json'}: does not list the data files of a saved data set") from error
    if state.get("_indices_data_files"):
        raise DataError(
            f"{path / 'state.json'}: saved with an index of its rows; save it again after flatten_indices()"
        )
    first = 1
    for name in names:
        if Path(name).name != name:
            raise DataError(f"{path / 'state.json'}: data file {shown(name)} lies outside the folder")
        for row in _arrow_rows(_require_inside(path / name, path), str(path), first):
            yield row
            first += 1


def _split_folder(path: Path, splits: Any, split: str) -> Path:
    for name in SPLIT_NAMES.get(split, (split,)):
        if isinstance(splits, list) and name in splits:
            return _require_inside(path / name, path)
    raise DataError(
        f"{path}: no split for split={split}; it has: {listed(splits) if isinstance(splits, list) else shown(splits)}"
    )


def _arrow_rows(path: Path, label: str, first: int) -> Iterator[Row]:
    import pyarrow as pa

    from rl.data.arrow import batch_rows

    with _readable_as("Arrow", path), pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            # Else a place that lies beyond its bytes is read all the same, or ends the process.
            batch.validate(full=True)
            yield from batch_rows(label, batch, first)
            first += batch.num_rows


def _read_json(path: Path) -> dict[str, Any]:
    text = _read_text(_require_inside(path, path.parent))
    try:
        content = _read_json_text(text)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {first_line(error)}") from error
    return dict(_checked_row(str(path), content))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> DataError:
    """With the first line whose bytes are no UTF-8 text."""
    if isinstance(error, UnicodeDecodeError):
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as bad:
                    found = f"{line[bad.start]:#04x} at byte {bad.start + 1} of line {number}; save it as UTF-8"
                    return DataError(f"{path}: not readable as UTF-8 text: {found}")
    return DataError(f"{path}: not readable as UTF-8 text: {error}")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__

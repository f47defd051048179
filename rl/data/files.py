"""Raw rows out of files: JSON Lines, Parquet, and folders written by Hugging Face ``datasets.save_to_disk``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rl.errors import DataError, first_line

Row = Mapping[str, Any]
KINDS = ".jsonl or .parquet file, or a folder written by datasets.save_to_disk"

_SPLIT_NAMES = {"train": ("train",), "val": ("val", "validation", "valid", "dev", "test")}


def read_rows(path: Path, split: str = "train") -> Iterator[tuple[str, Row]]:
    """Yield (where, row), e.g. ``("data.jsonl: row 3", {...})``; rows count from 1.

    split   picks the part of a folder that holds several; other files are taken whole
    Raises DataError where the path is missing, of another kind, unreadable, or holds no rows.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; allowed: a {KINDS}")
    if path.is_dir():
        rows = _folder_rows(path, split)
    elif path.suffix == ".jsonl":
        rows = _jsonl_rows(path)
    elif path.suffix == ".parquet":
        rows = _parquet_rows(path)
    else:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}; allowed: a {KINDS}")
    number = 0
    for number, row in enumerate(rows, 1):
        yield f"{path}: row {number}", row
    if not number:
        raise DataError(f"{path}: empty: it has no rows")


def _jsonl_rows(path: Path) -> Iterator[Row]:
    """Blank lines are passed over, and not counted as rows."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _json_row(f"{path}: line {number}", line)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as UTF-8 text: {error}") from error


def _json_row(where: str, line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(row).__name__}")
    return row


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable Parquet file: {first_line(error)}") from error


def _folder_rows(path: Path, split: str) -> Iterator[Row]:
    """``state.json`` names the Arrow files of a data set; ``dataset_dict.json`` names its splits, one folder each."""
    index = path / "dataset_dict.json"
    if index.is_file():
        yield from _folder_rows(_split_folder(path, _read_json(index).get("splits"), split), split)
        return
    if not (path / "state.json").is_file():
        raise DataError(f"{path}: neither state.json nor dataset_dict.json in it; allowed: a {KINDS}")
    try:
        names = [str(item["filename"]) for item in _read_json(path / "state.json")["_data_files"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path / 'state.json'}: does not list the data files of a saved data set") from error
    for name in names:
        if Path(name).name != name:
            raise DataError(f"{path / 'state.json'}: data file {name!r} lies outside the folder")
        yield from _arrow_rows(path / name)


def _split_folder(path: Path, splits: Any, split: str) -> Path:
    for name in _SPLIT_NAMES.get(split, (split,)):
        if isinstance(splits, list) and name in splits:
            return path / name
    raise DataError(f"{path}: no split for split={split}; it has: {splits}")


def _arrow_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable Arrow file: {first_line(error)}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable: {error}") from error
    return dict(_json_row(str(path), text))

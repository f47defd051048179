"""One set of rows, written in each of the formats that a source may have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rl.config import SourceConfig
from rl.data.rows import load_rows
from rl.types import Prompt

FORMATS = ("jsonl", "json", "parquet", "folder")
ARROW = ("parquet", "folder")


def write(folder: Path, kind: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema | None = None) -> Path:
    """A file or folder ``rows.KIND`` of these rows. schema: the types of Arrow's columns, where they are not the usual ones."""
    path = folder / f"rows.{kind}" if kind != "folder" else folder / "saved"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "json":
        path.write_text(json.dumps(list(rows), indent=1))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema), path)
    else:
        import datasets

        table = pa.Table.from_pylist([dict(row) for row in rows], schema)
        datasets.Dataset(table).save_to_disk(str(path))
    return path


def prompts(path: Path, **settings: Any) -> list[Prompt]:
    return load_rows(SourceConfig(source=str(path), **settings))


def prompt(folder: Path, kind: str, row: Mapping[str, Any], schema: pa.Schema | None = None, **settings: Any) -> Prompt:
    """The one prompt of one row."""
    (only,) = prompts(write(folder, kind, [row], schema), **settings)
    return only

"""Every generation of an evaluation, on disk as it comes: ``rows.jsonl``, ``rows.parquet``, and a PNG a drawing."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from rl.output.printable import escaped_in_json
from rl.output.secrets import redact
from rl.tracking.samples import caption_of
from rl.types import Group, Prompt, Rollout, Score

ROWS_FILE, TABLE_FILE, ROWS_FOLDER = "rows.jsonl", "rows.parquet", "rows"
TABLE_ROWS = 1024  # that are held until they are a row group of the table
_TEXT, _NUMBER, _COUNT = "string", "float64", "int64"
COLUMNS: Mapping[str, str] = {
    "id": _TEXT, "sample": _COUNT, "task": _TEXT, "source": _TEXT, "prompt": _TEXT, "response": _TEXT,
    "reference": _TEXT, "score": _NUMBER, "status": _TEXT, "parts": _TEXT, "detail": _TEXT, "seed": _COUNT,
    "tokens": _COUNT, "ended": _TEXT, "image": _TEXT,
}  # fmt: skip


class RowsWriter:
    """A context manager. Lines of ``rows.jsonl`` are whole after each ``write``; the table is there once the block ends well.

    What an earlier evaluation left in the folder is removed first. Columns: ``COLUMNS``; docs/evaluation.md says what they
    hold. ``parts`` is an object in a line, and its JSON in the table.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path, self.table = run_dir / ROWS_FILE, run_dir / TABLE_FILE
        self._run_dir, self._unfinished = run_dir, run_dir / f".{TABLE_FILE}"
        self._groups = 0
        self._held: list[dict[str, Any]] = []
        self._file: IO[str] | None = None
        self._parquet: Any = None

    def __enter__(self) -> RowsWriter:
        import pyarrow
        from pyarrow.parquet import ParquetWriter

        shutil.rmtree(self._run_dir / ROWS_FOLDER, ignore_errors=True)
        self.table.unlink(missing_ok=True)
        self._file = self.path.open("w", encoding="utf-8")
        schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in COLUMNS.items()])
        self._parquet = ParquetWriter(self._unfinished, schema)
        return self

    def write(self, groups: Iterable[Group]) -> list[list[str | None]]:
        """Each rollout's picture, as a path within the run's folder; None where it drew none."""
        pictures = []
        for group in groups:
            pictures.append([self._picture(rollout) for rollout in group.rollouts])
            self.put(_rows(group, pictures[-1]))
            self._groups += 1
        return pictures

    def put(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows with all ``COLUMNS``."""
        assert self._file is not None, "put: only within the block"
        for row in rows:
            self._file.write(escaped_in_json(json.dumps(row, ensure_ascii=False)) + "\n")
            self._held.append({**row, "parts": json.dumps(row["parts"])})
        self._file.flush()
        if len(self._held) >= TABLE_ROWS:
            self._add_to_table()

    def __exit__(self, kind: object, *_: object) -> None:
        assert self._file is not None
        self._file.close()
        if kind is None and self._held:
            self._add_to_table()
        self._parquet.close()
        if kind is None:
            self._unfinished.replace(self.table)
        else:
            self._unfinished.unlink(missing_ok=True)

    def _add_to_table(self) -> None:
        import pyarrow

        self._parquet.write_table(pyarrow.Table.from_pylist(self._held, schema=self._parquet.schema))
        self._held.clear()

    def _picture(self, rollout: Rollout) -> str | None:
        if rollout.image is None:
            return None
        (self._run_dir / ROWS_FOLDER).mkdir(exist_ok=True)
        name = f"{ROWS_FOLDER}/{self._groups:06d}-{rollout.index}.png"
        Image.fromarray(np.ascontiguousarray(rollout.image)).save(self._run_dir / name)
        return name


def _rows(group: Group, pictures: list[str | None]) -> Iterator[dict[str, Any]]:
    for rollout, score, picture in zip(group.rollouts, group.scores, pictures, strict=True):
        yield _row(group.prompt, rollout, score, picture)


def _row(prompt: Prompt, rollout: Rollout, score: Score, picture: str | None) -> dict[str, Any]:
    return {
        "id": prompt.id,
        "sample": rollout.index,
        "task": str(prompt.task),
        "source": prompt.source,
        "prompt": caption_of(prompt),
        "response": rollout.text,
        "reference": prompt.reference,
        "score": float(score.value) if score.usable else None,
        "status": str(score.status),
        "parts": {name: float(value) for name, value in score.parts.items() if math.isfinite(value)},
        "detail": redact(score.detail),
        "seed": rollout.seed,
        "tokens": int(rollout.response_mask.sum()),
        "ended": str(rollout.status),
        "image": picture,
    }

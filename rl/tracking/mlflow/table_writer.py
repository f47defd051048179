"""Tables into MLflow's store: a JSON file, its pictures, and the tag by which the page knows a file as a table.

``MlflowClient.log_table`` asks for the run twice, lists its files, and packs each picture a second time: three times as long.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.tracking.mlflow.events import Table

TAG = "mlflow.loggedArtifacts"
LONGEST_TAG = 5000  # characters that every store takes
FOLDER, FOLLOWED = "samples", "followed_"


class TableWriter:
    """The tables of one run. client: ``MlflowClient``. ``write`` raises what the store raises, and can be called again."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._listed: list[dict[str, str]] | None = None
        self._followed: dict[str, dict[str, Any]] = {}

    def write(self, event: Table, stem: str) -> None:
        """A table of its own, or more rows of one that is followed over time."""
        path = f"{FOLDER}/{FOLLOWED}{event.name}.json" if event.follows else f"{FOLDER}/{stem}.json"
        with tempfile.TemporaryDirectory() as folder:
            cells = _pictures(event, path, Path(folder))
            rows = [{name: _cell(value, cells) for name, value in row.items()} for row in event.rows]
            content = _joined(self._earlier(path) if event.follows else None, rows)
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
            self._client.log_artifacts(self._run_id, folder)
        if event.follows:
            self._followed[path] = content
        self._list(path)

    def _earlier(self, path: str) -> dict[str, Any] | None:
        """The table so far; of an earlier process, as the store has it."""
        if path not in self._followed and path in {
            each.path for each in self._client.list_artifacts(self._run_id, FOLDER)
        }:
            with tempfile.TemporaryDirectory() as folder:
                file = self._client.download_artifacts(self._run_id, path, folder)
                self._followed[path] = json.loads(Path(file).read_text("utf-8"))
        return self._followed.get(path)

    def _list(self, path: str) -> None:
        """The page shows the newest as tables: the tag has an end. Those that are followed stay in it."""
        known = self._listed
        if known is None:
            known = json.loads(self._client.get_run(self._run_id).data.tags.get(TAG, "[]"))
        if any(each["path"] == path for each in known):
            return
        listed = [*known, {"path": path, "type": "table"}]
        while len(json.dumps(listed)) > LONGEST_TAG:
            oldest = next((each for each in listed if FOLLOWED not in each["path"]), listed[0])
            listed.remove(oldest)
        self._client.set_tag(self._run_id, TAG, json.dumps(listed))
        self._listed = listed


def _pictures(event: Table, path: str, folder: Path) -> dict[str, dict[str, str]]:
    """key -> the cell that shows its picture, which is in ``folder`` now."""
    place = f"table_images/{path.removesuffix('.json')}"
    cells = {}
    for key, png in event.pictures.items():
        name = hashlib.sha256(f"{event.step}/{key}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        file = Path(folder, place, f"{name}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png)
        shown = f"{place}/{name}.png"
        cells[key] = {"type": "image", "filepath": shown, "compressed_filepath": shown}
    return cells


def _cell(value: Any, cells: Mapping[str, Mapping[str, str]]) -> Any:
    return cells.get(value.get("picture", "")) if isinstance(value, Mapping) else value


def _joined(earlier: Mapping[str, Any] | None, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows below those that are there, as columns and data."""
    columns = list(earlier["columns"]) if earlier else []
    columns += [name for name in dict.fromkeys(name for row in rows for name in row) if name not in columns]
    before = [[*row, *[None] * (len(columns) - len(row))] for row in earlier["data"]] if earlier else []
    return {"columns": columns, "data": [*before, *[[row.get(name) for name in columns] for row in rows]]}

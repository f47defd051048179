"""One store for all runs of an ``output_dir``: made once however many runs begin at once, and whole after a move."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

LOCK_FILE = "mlflow.lock"
ARTIFACTS = "mlartifacts"
BESIDE = "unigrpo.artifacts"  # a tag of the experiment: its files are beside the store, wherever that is
KIND = "mlflow.experimentKind"  # which pages the UI shows; without it, it guesses
TRAINING = "custom_model_development"
BUSY_S = 20.0  # MLflow's own wait for another writer
# Where MLflow keeps places of files: table, column, and what else holds of such a row.
_PLACES = (
    ("runs", "artifact_uri", ""),
    ("trace_tags", "value", "AND key = 'mlflow.artifactLocation'"),
    ("logged_models", "artifact_location", ""),
    ("model_versions", "source", ""),
    ("model_versions", "storage_location", ""),
)


@contextmanager
def alone(file: Path | None) -> Iterator[None]:
    """In this block no other run makes or changes this store. None: a server or a database sees to that itself."""
    if file is None:
        yield
        return
    file.absolute().parent.mkdir(parents=True, exist_ok=True)
    with (file.absolute().parent / LOCK_FILE).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def artifacts_beside(file: Path) -> str:
    """The place of the files of a store in a file, as a URI."""
    return (file.absolute().parent / ARTIFACTS).as_uri()


def follow(file: Path) -> None:
    """Point the store at the files beside it. MLflow writes whole paths down, so that a folder that was moved or copied would
    lose its pictures. Raises sqlite3.Error where the file is no store."""
    if not file.is_file() or file.stat().st_size == 0:
        return
    with closing(sqlite3.connect(file, timeout=BUSY_S)) as store:
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"experiments", "experiment_tags"} <= tables:
            return
        rows = store.execute(
            "SELECT experiment_id, artifact_location FROM experiments JOIN experiment_tags USING (experiment_id) WHERE key = ?",
            (BESIDE,),
        ).fetchall()
        moved = [(number, old) for number, old in rows if old != artifacts_beside(file)]
        with store:  # all or nothing
            for number, old in moved:
                _move(store, tables, number, old, artifacts_beside(file))


def _move(store: sqlite3.Connection, tables: set[str], experiment: int, old: str, new: str) -> None:
    for table, column, also in _PLACES:
        if table in tables:
            store.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ? {also}",
                (new, len(old) + 1, len(old) + 1, f"{old}/"),
            )
    store.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (new, experiment))


def experiment_id(client: Any, name: str, file: Path | None) -> str:
    """The experiment of this name, made where it is not there, with its kind. file: the store, where it is one file."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        tags: Mapping[str, str] = {KIND: TRAINING} if file is None else {KIND: TRAINING, BESIDE: "beside the store"}
        try:
            return client.create_experiment(
                name, artifact_location=None if file is None else artifacts_beside(file), tags=dict(tags)
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another run was quicker
    if KIND not in found.tags:
        client.set_experiment_tag(found.experiment_id, KIND, TRAINING)
    return found.experiment_id

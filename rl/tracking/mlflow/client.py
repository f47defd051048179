"""The run in MLflow that a run folder belongs to, and a client of its store, for what is written once a run has ended."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.tracking.mlflow.store import alone, follow
from rl.tracking.mlflow_address import sqlite_file, store_uri, with_password
from rl.tracking.mlflow_store import patient_for_seconds

RUN_FILE = "mlflow_run.json"
IS_ID = re.compile(r"[A-Za-z0-9][\w-]{0,255}")  # MLflow refuses to look for another


@dataclass(frozen=True, slots=True)
class Known:
    """A run and its experiment, by their ids in MLflow."""

    run_id: str
    experiment_id: str


def known_run(run_dir: Path) -> Known | None:
    """What the folder says; None where no run of it has reached MLflow, or the file is damaged."""
    try:
        content = json.loads((run_dir / RUN_FILE).read_text("utf-8"))
        known = Known(content["run_id"], content["experiment_id"])
        whole = all(IS_ID.fullmatch(each) for each in (known.run_id, known.experiment_id))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return known if whole else None


def open_client(run_dir: Path, uri: str | None, password_env: str | None) -> Any:
    """An ``MlflowClient`` of a run's store. uri: ``tracking.uri``. Raises ConfigError without the password, or what the store
    raises; a server is first asked with the first call."""
    patient_for_seconds()
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    place = uri or store_uri(run_dir)
    file = sqlite_file(place)
    with alone(file):
        if file is not None:
            follow(file)
        return MlflowClient(tracking_uri=with_password(place, password_env))

"""A page as an artifact of a run that is in MLflow already, with a tag that says where it is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from rl.checkpoints.files import read_inside
from rl.errors import first_line
from rl.output.secrets import redact
from rl.tracking.mlflow.store import alone, artifacts_beside, follow
from rl.tracking.mlflow_address import sqlite_file, store_uri, with_password
from rl.tracking.mlflow_store import ANSWER_S, patient_for_seconds, within

_RUN_FILE, _CONFIG_FILE = "mlflow_run.json", "config.yaml"
_RUN_ID = re.compile(r"[A-Za-z0-9][\w-]{0,255}")


def link(run_dir: Path, file: Path, tag: str, elsewhere: bool = False) -> str:
    """Empty where it is done, or the run is not in that MLflow; else why not, in one line. Bounded in time.

    elsewhere: also where the run's config names a store. A folder may be somebody else's, and its config is then no reason to
    send a login or a page anywhere.
    """
    settings, run_id = _tracking(run_dir), _run_id(run_dir)
    named = settings.get("uri")
    if run_id is None or (named is not None and not elsewhere):
        return ""
    uri = str(named or store_uri(run_dir))
    store = sqlite_file(uri)
    try:
        if store is not None and not store.is_file():
            raise OSError("no such store")
        within(
            ANSWER_S, lambda: _write(with_password(uri, settings.get("password_env")), store, run_id, file, tag, named)
        )
    except Exception as error:  # MLflow and its stores have many classes of errors; none of them costs the page
        return f"not in MLflow ({redact(uri)}): {redact(first_line(error))}; the page is whole without it"
    return ""


def _write(uri: str, store: Path | None, run_id: str, file: Path, tag: str, named: str | None) -> None:
    patient_for_seconds()
    from mlflow import MlflowClient

    with alone(store):
        if store is not None:
            follow(store)
    client = MlflowClient(tracking_uri=uri)
    place = client.get_run(run_id).info.artifact_uri or ""
    if store is not None and named is None and not place.startswith(f"{artifacts_beside(store)}/"):
        raise OSError(f"the run keeps its files at {place}, not beside the store")
    client.log_artifact(run_id, str(file))
    client.set_tag(run_id, tag, file.name)


def _run_id(run_dir: Path) -> str | None:
    try:
        run_id = json.loads(read_inside(run_dir / _RUN_FILE, run_dir))["run_id"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return run_id if isinstance(run_id, str) and _RUN_ID.fullmatch(run_id) else None


def _tracking(run_dir: Path) -> dict[str, Any]:
    try:
        settings: Any = yaml.safe_load(read_inside(run_dir / _CONFIG_FILE, run_dir))
        found = settings["tracking"]
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
        return {}

"""Whether MLflow's store can take a run: what this machine lacks for it, whether it answers, and what was deleted there."""

from __future__ import annotations

import importlib.util
import os
import socket
import sqlite3
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

from rl.errors import ConfigError, first_line
from rl.output.secrets import redact
from rl.tracking.mlflow.store import KIND
from rl.tracking.mlflow_address import DATABASES, sqlite_file, store_uri, with_password

UNAUTHENTICATED, DENIED = "UNAUTHENTICATED", "PERMISSION_DENIED"  # MLflow's codes for 401 and 403
PROBE_S = 5.0  # to connect to a server
ANSWER_S = 30.0  # for its answer; MLflow itself would try for minutes
_SQLITE_MAGIC = b"SQLite format 3\0"


def check_store(
    run_dir: Path,
    uri: str | None,
    experiment: str,
    *,
    resumes: bool,
    warn: Callable[[str], None],
    password_env: str | None = None,
) -> None:
    """That runs can be logged there: it answers, and its experiment was not deleted. Bounded in time.

    resumes: a run that goes on is not kept waiting for its monitoring; ``warn`` then gets what would refuse a new one.

    Raises ConfigError.
    """
    place = uri or store_uri(run_dir)
    full = with_password(place, password_env)
    if problem := lacking(place):
        if uri is not None:
            raise ConfigError(f"tracking.uri={redact(uri)!r}: {problem}")
        warn(f"MLflow: {problem}; the run goes on, and logs there once it can")
        return
    try:
        stage = _stage(full, experiment)
    except (OSError, sqlite3.Error, RuntimeError) as error:
        problem, fix = _refusal(error) or (
            f"no MLflow store answers there: {first_line(error)}",
            "start it, correct tracking.uri, or set it to null: a store in output_dir",
        )
        text = f"tracking.uri={redact(place)!r}: {problem}"
        if resumes or uri is None:
            warn(f"{text}; the run goes on, and logs there once it answers")
            return
        raise ConfigError(f"{text}; {fix}") from error
    if stage == "deleted":
        raise ConfigError(
            f"tracking.experiment={experiment!r}: was deleted in MLflow ({redact(place)}); restore it there "
            "(mlflow experiments restore), or give another name, e.g. tracking.experiment=new"
        )


def _refusal(error: Exception) -> tuple[str, str] | None:
    """What is wrong with the login, and how to fix it; None where that is not the problem."""
    code = getattr(error.__cause__, "error_code", "")
    user, login = os.environ.get("MLFLOW_TRACKING_USERNAME"), "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    who = f"user {redact(user)!r}" if user else "a login without a user"
    if code == UNAUTHENTICATED:
        return f"the server refuses {who} (401)", f"set {login}, or MLFLOW_TRACKING_TOKEN"
    if code == DENIED:
        return f"the server does not let {who} write there (403)", "ask for the permission, or set another " + login
    return None


def lacking(uri: str) -> str:
    """What this machine has not that the address needs; empty where nothing is missing."""
    kind = urlsplit(uri).scheme.partition("+")[0]
    if (file := sqlite_file(uri)) is not None:
        return _file_problem(file)
    if kind in DATABASES:
        return _driver_problem(uri)
    if "databricks" in (uri, kind) and importlib.util.find_spec("databricks") is None:
        return "needs the package databricks-sdk; pip install databricks-sdk"
    return ""


def _file_problem(file: Path) -> str:
    if file.is_dir():
        return f"{file} is a folder; give a file in it: sqlite:///{file / 'mlflow.db'}"
    above = next(parent for parent in file.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        return f"{file} cannot be made: {above} is no folder that can be written to"
    if not file.exists():
        return _cannot_be_made(file)
    if not file.is_file():
        return f"{file} is there, and is no file; give another"
    if not os.access(file, os.R_OK | os.W_OK):
        return f"{file} cannot be read and written; change its permissions, or give another file"
    with file.open("rb") as content:
        start = content.read(len(_SQLITE_MAGIC))
    return "" if start in (b"", _SQLITE_MAGIC) else f"{file} is no SQLite database; give another file"


def _cannot_be_made(file: Path) -> str:
    """Tried, and what was made is removed: permissions do not tell of ``/proc`` or a disk that is read-only."""
    made: list[Path] = []
    try:
        for folder in reversed(file.absolute().parents):
            if not folder.is_dir():
                folder.mkdir()
                made.append(folder)
        with tempfile.TemporaryFile(dir=file.absolute().parent):
            return ""
    except OSError as error:
        return f"{file} cannot be made: {error.strerror}; give another file"
    finally:
        for folder in reversed(made):
            folder.rmdir()


def _driver_problem(uri: str) -> str:
    from sqlalchemy.engine import make_url

    kind = urlsplit(uri).scheme.partition("+")[0]
    try:
        make_url(uri).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        return f"{first_line(error)}, its driver; install it, or name another: {kind}+DRIVER://"
    except Exception as error:  # SQLAlchemy has many classes of errors; all are the address
        return f"{first_line(error)}; expected {kind}://USER@HOST/DATABASE"
    return ""


def _stage(uri: str, experiment: str) -> str | None:
    """``active`` or ``deleted``; None where there is no such experiment yet."""
    file = sqlite_file(uri)
    if file is not None:
        return _stage_in_file(file, experiment)
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        _connect(parts)
    return within(ANSWER_S, lambda: _stage_by_mlflow(uri, experiment))


def _stage_in_file(file: Path, experiment: str) -> str | None:
    """Read from the file itself: importing MLflow takes seconds, and most runs keep their numbers in a file."""
    if not file.is_file() or file.stat().st_size == 0:
        return None
    with closing(sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True, timeout=PROBE_S)) as store:
        if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return None
        rows = store.execute("SELECT lifecycle_stage FROM experiments WHERE name = ?", (experiment,)).fetchall()
    return rows[0][0] if rows else None


def _connect(parts: SplitResult) -> None:
    """Whether a server listens; a proxy is left to MLflow. Raises OSError."""
    host = str(parts.hostname)
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    socket.create_connection((host, port), timeout=PROBE_S).close()


def _stage_by_mlflow(uri: str, experiment: str) -> str | None:
    patient_for_seconds()
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    if found is not None and found.lifecycle_stage == "active" and KIND in found.tags:
        client.set_experiment_tag(found.experiment_id, KIND, found.tags[KIND])  # changes nothing; whether it may
    return None if found is None else found.lifecycle_stage


def patient_for_seconds() -> None:
    """Before MLflow is imported: its own retries would go on for minutes. Ours go on longer, and never block the run."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def within(seconds: float, ask: Callable[[], str | None]) -> str | None:
    """The answer of ``ask``, asked in a thread of its own. Raises RuntimeError: its error, or that it took longer."""
    answers: list[str | None] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="mlflow-probe", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise RuntimeError(first_line(errors[0])) from errors[0]
    if not answers:
        raise RuntimeError(f"no answer within {seconds:g} s")
    return answers[0]

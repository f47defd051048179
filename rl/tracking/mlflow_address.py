"""Addresses of MLflow stores: which ones MLflow 3 takes. Nothing is contacted or looked up here.

What a machine lacks for an address (a driver, a folder, a server that answers) is found by ``rl.tracking.mlflow_store``.
``python -m rl.tracking.mlflow_address RUN_FOLDER`` prints the address of a run's own store.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from rl.errors import ConfigError, first_line

DATABASES = ("postgresql", "mysql", "mssql")
LONGEST_EXPERIMENT = 500
_ALLOWED = "http://HOST:PORT, sqlite:////FOLDER/mlflow.db, or null for a store in the run folder"


def store_uri(run_dir: Path) -> str:
    """Where a run keeps its numbers unless ``tracking.uri`` says otherwise. Example: ``sqlite:////runs/a/mlflow.db``.

    A path with ``%`` or ``?`` is quoted, as SQLAlchemy reads it. The driver's name is then given as well: without it
    MLflow makes a folder with the quoted name.
    """
    path = str(run_dir.absolute() / "mlflow.db")
    quoted = path.replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{path}" if quoted == path else f"sqlite+pysqlite:///{quoted}"


def sqlite_file(uri: str) -> Path | None:
    """The file of a ``sqlite:`` address; None for another kind of address, or one without a file."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri, re.DOTALL)
    return None if found is None or found[1] == ":memory:" else Path(unquote(found[1]))


def shown(uri: str) -> str:
    """The address without the password in it."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", uri)


def check_uri(uri: str | None) -> None:
    """That MLflow takes such an address. Raises ConfigError."""
    if uri is not None and (problem := _problem(uri)):
        raise ConfigError(f"tracking.uri={shown(uri)!r}: {problem}")


def check_experiment(experiment: str, uri: str | None) -> None:
    """That MLflow takes such a name. Raises ConfigError."""
    where = f"tracking.experiment={experiment[:80]!r}"
    if not experiment.strip() or len(experiment) > LONGEST_EXPERIMENT:
        raise ConfigError(f"{where}: expected 1 to {LONGEST_EXPERIMENT} characters, e.g. unigrpo")
    if uri is not None and uri.startswith("databricks") and not experiment.startswith("/"):
        raise ConfigError(f"{where}: Databricks names experiments by their path; expected e.g. /Users/NAME/unigrpo")


def _problem(uri: str) -> str:
    if not uri or re.search(r"\s", uri) and not uri.startswith("sqlite"):
        return f"expected {_ALLOWED}, without blanks"
    if re.fullmatch(r"[\w.\-]+:\d+(/.*)?|\[[\da-fA-F:]+\]:\d+(/.*)?", uri):
        return f"a server needs its scheme: http://{uri}"
    try:
        parts = urlsplit(uri)
        if parts.scheme in ("http", "https"):
            return _server_problem(parts)
    except ValueError as error:  # a port that is no number, brackets without an end
        return f"{first_line(error)}; expected {_ALLOWED}"
    kind = parts.scheme.partition("+")[0]
    if kind == "sqlite":
        return _sqlite_problem(uri)
    if kind in DATABASES:
        return "" if parts.netloc else f"no host in it; expected {parts.scheme}://USER:PASSWORD@HOST/DATABASE"
    if kind == "databricks" or uri == "databricks":
        return "" if parts.netloc or uri == "databricks" else "expected databricks or databricks://PROFILE"
    if kind in ("databricks-uc", "uc") or uri in ("databricks-uc", "uc"):
        return f"is a registry of models, not a place for runs; expected databricks, {_ALLOWED}"
    if kind == "file" or not kind or len(kind) == 1:
        return _folder_problem(uri, parts)
    return "" if _is_installed(kind) else f"MLflow knows no scheme {kind!r}; expected {_ALLOWED}"


def _server_problem(parts: SplitResult) -> str:
    """Raises ValueError where the port is none."""
    if not parts.hostname or parts.port == 0:
        return f"no host in it; expected {parts.scheme}://HOST:PORT"
    if parts.fragment or parts.query or not re.fullmatch(r"[\w.\-:]+", parts.hostname):
        host = parts.hostname if re.fullmatch(r"[\w.\-:]+", parts.hostname) else "HOST"
        port = f":{parts.port}" if parts.port else ""
        return f"a page of a browser, or no host; expected the server alone: {parts.scheme}://{host}{port}"
    return ""


def _sqlite_problem(uri: str) -> str:
    if not uri.startswith("sqlite"):
        return f"the scheme is written in small letters: sqlite{uri[6:]}"
    file = sqlite_file(uri)
    if file is None:
        in_memory = re.fullmatch(r"sqlite(\+\w+)?:(//|///|///:memory:)(\?.*)?", uri)
        reason = "a store in memory keeps nothing" if in_memory else "names no file"
        return f"{reason}; expected sqlite:////FOLDER/mlflow.db (absolute) or sqlite:///mlflow.db (relative)"
    if uri.partition("?")[0].endswith("/"):
        return f"is a folder's name; give a file in it: {uri}mlflow.db"
    return ""


def _folder_problem(uri: str, parts: SplitResult) -> str:
    """MLflow 3 refuses folders (``mlruns``) unless it is told to take them."""
    if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
        return "a folder of another machine; expected file:///FOLDER" if parts.scheme == "file" and parts.netloc else ""
    path = Path(unquote(parts.path) if parts.scheme == "file" else uri).expanduser()
    return (
        f"MLflow 3 no longer writes into folders; give sqlite:///{path / 'mlflow.db'}, http://HOST:PORT of a server, or "
        "null for a store in the run folder"
    )


def _is_installed(scheme: str) -> bool:
    """Whether an installed package brings MLflow a store of this scheme."""
    from importlib.metadata import entry_points

    return any(point.name == scheme for point in entry_points(group="mlflow.tracking_store"))


if __name__ == "__main__":
    print(store_uri(Path(sys.argv[1])))

"""Addresses of MLflow stores: which ones MLflow 3 takes. Nothing is contacted or looked up here.

What a machine lacks for an address (a driver, a folder, a server that answers) is found by ``rl.tracking.mlflow_store``.
``python -m rl.tracking.mlflow_address RUN_FOLDER`` prints the address of a run's default store.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from rl.errors import ConfigError, first_line
from rl.output.secrets import Secret, know, redact

DATABASES = ("postgresql", "mysql", "mssql")
LONGEST_EXPERIMENT = 500
STORE_FILE = "mlflow.db"
_ALLOWED = "http://HOST:PORT, sqlite:////FOLDER/mlflow.db, or null for a store in output_dir"


def store_uri(run_dir: Path) -> str:
    """Where a run keeps its numbers unless ``tracking.uri`` says otherwise: ``mlflow.db`` in the folder of its run folder, so
    that all runs of an ``output_dir`` can be compared. Example: ``sqlite:////runs/mlflow.db`` for ``/runs/a``. A store in the
    run folder itself is taken where it is there.

    A path with ``%`` or ``?`` is quoted, as SQLAlchemy reads it. The driver's name is then given as well: without it
    MLflow makes a folder with the quoted name.
    """
    own = run_dir.absolute() / STORE_FILE
    path = str(own if own.is_file() else own.parent.parent / STORE_FILE)
    quoted = path.replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{path}" if quoted == path else f"sqlite+pysqlite:///{quoted}"


def sqlite_file(uri: str) -> Path | None:
    """The file of a ``sqlite:`` address; None for another kind of address, or one without a file."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri, re.DOTALL)
    return None if found is None or found[1] == ":memory:" else Path(unquote(found[1]))


def check_uri(uri: str | None, password_env: str | None = None) -> None:
    """That MLflow takes such an address. Raises ConfigError."""
    if uri is not None and (problem := _problem(uri)):
        raise ConfigError(f"tracking.uri={redact(uri)!r}: {problem}")
    if password_env is not None and not _takes_password(uri):
        raise ConfigError(
            f"tracking.password_env={password_env}: is for a database with a user, e.g. "
            "tracking.uri=postgresql://USER@HOST/DATABASE; a server's login is MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD"
        )


def with_password(uri: str, password_env: str | None) -> str:
    """The address as a database needs it: with the password in it, which ``redact`` knows from now on. Raises ConfigError."""
    if password_env is None:
        return uri
    password = os.environ.get(password_env, "").strip()
    if not password:
        raise ConfigError(f"tracking.password_env={password_env}: the environment variable is not set")
    secret = Secret(quote(password, safe=""))
    know(password)
    parts = urlsplit(uri)
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{secret.reveal()}@{host}").geturl()


def _takes_password(uri: str | None) -> bool:
    parts = urlsplit(uri or "")
    return parts.scheme.partition("+")[0] in DATABASES and "@" in parts.netloc


def check_experiment(experiment: str, uri: str | None) -> None:
    """That MLflow takes such a name. Raises ConfigError."""
    where = f"tracking.experiment={experiment[:80]!r}"
    if not experiment.strip() or len(experiment) > LONGEST_EXPERIMENT:
        raise ConfigError(f"{where}: expected 1 to {LONGEST_EXPERIMENT} characters, e.g. unigrpo")
    if uri is not None and uri.startswith("databricks") and not experiment.startswith("/"):
        raise ConfigError(f"{where}: Databricks names experiments by their path; expected e.g. /Users/NAME/unigrpo")


def check_model(name: str | None, logged: str) -> None:
    """That MLflow's registry takes such a name. logged: ``tracking.log_model``. Raises ConfigError."""
    if name is None:
        return
    if not re.fullmatch(r"[\w.-](?:[\w. -]{0,254}[\w.-])?", name) or re.fullmatch(r"\.+", name):
        raise ConfigError(
            f"tracking.registered_model={name[:80]!r}: expected 1 to 256 letters, digits, blanks, points, - and _, e.g. "
            "my-policy"
        )
    if logged == "off":
        raise ConfigError(
            f"tracking.registered_model={name[:80]!r} with tracking.log_model=off: there is nothing to register; set "
            "tracking.log_model=both, or leave the name out"
        )


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
        return "" if parts.netloc else f"no host in it; expected {parts.scheme}://USER@HOST/DATABASE"
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
        "null for a store in output_dir"
    )


def _is_installed(scheme: str) -> bool:
    """Whether an installed package brings MLflow a store of this scheme."""
    from importlib.metadata import entry_points

    return any(point.name == scheme for point in entry_points(group="mlflow.tracking_store"))


if __name__ == "__main__":
    print(store_uri(Path(sys.argv[1])))

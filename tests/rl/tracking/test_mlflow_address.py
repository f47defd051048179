"""Which addresses of MLflow are taken, and what each mistake is told: beside MLflow's own answer to the same address."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rl.config import build_config
from rl.errors import ConfigError
from rl.output.secrets import redact
from rl.tracking import mlflow_store
from rl.tracking.mlflow.server import where
from rl.tracking.mlflow_address import check_uri, sqlite_file, store_uri, with_password
from rl.tracking.mlflow_store import check_store
from tests.wide import wide

ROOT = Path(__file__).parents[3]
REFUSED = {
    "localhost:5999": "http://localhost:5999",
    "127.0.0.1:5999": "http://127.0.0.1:5999",
    "localhost:5000/": "http://localhost:5000/",
    "mlflow.example.org:443": "http://mlflow.example.org:443",
    "[::1]:5000": "http://[::1]:5000",
    "htp://x": "no scheme 'htp'",
    "ftp://x": "no scheme 'ftp'",
    "s3://bucket/runs": "no scheme 's3'",
    "mlruns": "sqlite:///mlruns/mlflow.db",
    "./mlruns": "sqlite:///mlruns/mlflow.db",
    "/data/mlruns": "sqlite:////data/mlruns/mlflow.db",
    "file:///data/mlruns": "sqlite:////data/mlruns/mlflow.db",
    "file:mlruns": "sqlite:///mlruns/mlflow.db",
    "file://host/mlruns": "no longer writes into folders",
    "mlflow.example.org": "http://HOST:PORT of a server",
    "": "expected http://HOST:PORT",
    "  ": "expected http://HOST:PORT",
    " http://a:1": "without blanks",
    "http://a:1\n": "without blanks",
    "http:/a:1": "no host",
    "http://": "no host",
    "http://:5000": "no host",
    "https://a:x": "Port could not be cast",
    "http://a:99999": "Port out of range",
    "http://[::1": "Invalid IPv6 URL",
    "http://localhost:5000/#/experiments/1": "the server alone: http://localhost:5000",
    "http://localhost:5000?x=1": "the server alone: http://localhost:5000",
    "sqlite:rel.db": "sqlite:////FOLDER/mlflow.db (absolute)",
    "sqlite:/a.db": "sqlite:////FOLDER/mlflow.db (absolute)",
    "sqlite://a.db": "names no file",
    "sqlite://": "in memory keeps nothing",
    "sqlite:///:memory:": "in memory keeps nothing",
    "SQLITE:///x.db": "small letters: sqlite:///x.db",
    "sqlite:////data/": "sqlite:////data/mlflow.db",
    "databricks-uc": "a registry of models",
    "uc:http://x": "a registry of models",
    "databricks:/profile": "databricks://PROFILE",
    "http//localhost:5000": "no longer writes into folders",
    "http:localhost:5000": "no host",
    "localhost": "http://HOST:PORT of a server",
    "mlflow:5000": "http://mlflow:5000",
    "tcp://x:1": "no scheme 'tcp'",
    "ws://h:1": "no scheme 'ws'",
    "http://a b": "without blanks",
    "http://h:0": "no host",
    "http://h:-1": "Port could not be cast",
    "http://h#x": "the server alone: http://h",
    "postgres://u@h/d": "no scheme 'postgres'",
    "postgresql:///": "no host",
    "sqlite3:///x.db": "no scheme 'sqlite3'",
    "sqlite:////": "give a file in it",
    "file:///": "no longer writes into folders",
    "~/mlruns": "no longer writes into folders",
    "databricks://": "databricks://PROFILE",
    "dbfs:/x": "no scheme 'dbfs'",
    "gs://b": "no scheme 'gs'",
    "oracle://u@h/d": "no scheme 'oracle'",
    ":5000": "http://HOST:PORT of a server",
    "none": "null for a store in output_dir",
    "http://h:5000\t": "without blanks",
    "postgresql:/x": "postgresql://USER@HOST/DATABASE",
}
TAKEN = [
    None, "http://localhost:5000", "https://mlflow.example.org/team", "HTTP://a", "http://[::1]:5000",
    "http://a/", "sqlite:///x.db", "sqlite:////data/a b/x.db", "sqlite+pysqlite:////data/x.db?timeout=3", "databricks",
    "databricks://profile", "postgresql://u@h/d", "mysql+pymysql://u@h:3306/d", "mssql+pyodbc://u@h/d",
]  # fmt: skip


@pytest.mark.parametrize("uri", wide(REFUSED, 4))
def test_what_mlflow_does_not_take_is_one_line_with_the_way_out(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(ConfigError) as caught:
        build_config([("test", {"tracking": {"uri": uri}})])
    assert str(caught.value).startswith(f"tracking.uri={redact(uri)!r}: ")
    assert REFUSED[uri] in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["localhost:5999", "127.0.0.1:5999", "htp://x", "mlruns", "file:///data/mlruns", "s3://x"]
)
def test_mlflow_itself_refuses_them(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(Exception, match=r"maintenance mode|unsupported URI"):
        MlflowClient(tracking_uri=uri).get_experiment_by_name("x")


@pytest.mark.parametrize("uri", TAKEN)
def test_what_mlflow_takes_passes(uri: str | None) -> None:
    check_uri(uri)


@pytest.mark.parametrize(
    ("experiment", "uri", "said"),
    [
        ("", None, "1 to 500 characters"),
        ("  ", None, "1 to 500 characters"),
        ("x" * 501, "http://a:1", "1 to 500 characters"),
        ("unigrpo", "databricks", "/Users/NAME/unigrpo"),
        ("unigrpo", "databricks://profile", "/Users/NAME/unigrpo"),
    ],
)
def test_a_name_of_an_experiment_that_mlflow_refuses(experiment: str, uri: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match="tracking.experiment=") as caught:
        build_config([("test", {"tracking": {"experiment": experiment, "uri": uri}})])
    assert said in str(caught.value) and len(str(caught.value)) < 300
    build_config([("test", {"tracking": {"experiment": "/Users/me/ünigrpo", "uri": uri}})])


def test_folders_are_taken_where_mlflow_is_told_to_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    check_uri("mlruns")
    check_uri("file:///data/mlruns")


def test_an_address_is_not_looked_at_where_mlflow_is_off() -> None:
    build_config([("test", {"tracking": {"mlflow": False, "uri": "htp://x"}})])


LOGINS = [
    "http://me:hush-7391@a:1/x", "https://hush-7391@a", "postgresql://u:hush-7391@h/d", "mysql+pymysql://u:1/hush-7391@h/d",
    "plugin://u:hush'7391@h", "HTTP://me:12?hush-7391@a",
]  # fmt: skip


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("uri", LOGINS)
def test_an_address_with_a_login_is_refused_without_it(uri: str, on: bool) -> None:
    with pytest.raises(ConfigError, match="tracking.uri: a URL with a login") as caught:
        build_config([("test", {"tracking": {"mlflow": on, "uri": uri}})])
    assert "7391" not in str(caught.value) and "MLFLOW_TRACKING_PASSWORD" in str(caught.value)


def test_a_database_gets_its_password_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_WORD", "hu/sh@7391 \n")
    config = build_config([("test", {"tracking": {"uri": "postgresql://u@h:1/d?x=1", "password_env": "DB_WORD"}})])
    full = with_password(str(config.tracking.uri), config.tracking.password_env)
    assert full == "postgresql://u:hu%2Fsh%407391@h:1/d?x=1"
    assert "7391" not in redact(f"no way to {full}, hu/sh@7391")
    monkeypatch.delenv("DB_WORD")
    with pytest.raises(ConfigError, match="password_env=DB_WORD: the environment variable is not set"):
        with_password("postgresql://u@h/d", "DB_WORD")
    for uri in (None, "http://a:1", "postgresql://h/d", "sqlite:///x.db"):
        with pytest.raises(ConfigError, match="is for a database with a user"):
            check_uri(uri, "DB_WORD")


def refusal(run_dir: Path, uri: str | None, experiment: str = "unigrpo") -> str:
    with pytest.raises(ConfigError) as caught:
        check_store(run_dir, uri, experiment, resumes=False, warn=pytest.fail)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_this_machine_lacks_for_an_address(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, but a text of some length")
    (tmp_path / "folder").mkdir()
    for uri, said in {
        f"sqlite:///{tmp_path}/text.db": "is no SQLite database",
        f"sqlite:///{tmp_path}/folder": "is a folder; give a file in it",
        f"sqlite:///{tmp_path}/text.db/x.db": "is no folder that can be written to",
        "postgresql://u:secret@h/d": "No module named 'psycopg",
        "mysql://u@h/d": "No module named 'MySQLdb'",
        "mssql+nosuch://u@h/d": "nosuch",
    }.items():
        text = refusal(tmp_path, uri)
        assert said in text and "secret" not in text, text
    for uri in (None, f"sqlite:///{tmp_path}/not/yet/there.db"):
        check_store(tmp_path, uri, "unigrpo", resumes=False, warn=pytest.fail)
    assert not (tmp_path / "not").exists()


class Stranger(BaseHTTPRequestHandler):
    """A server, but not MLflow's."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"<html>nothing here</html>")

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def listening(answers: bool) -> Iterator[str]:
    """An address on loopback, where a stranger answers or where nobody ever does."""
    server = HTTPServer(("127.0.0.1", 0), Stranger)
    if answers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        if answers:
            server.shutdown()
        server.server_close()


@pytest.mark.long
def test_a_server_that_is_not_there_or_not_mlflow_is_one_line_in_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_store, "ANSWER_S", 8.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and never listening: every connection is refused
        text = refusal(tmp_path, f"http://me:secret@127.0.0.1:{taken.getsockname()[1]}")
        assert "no MLflow store answers there: [Errno 111] Connection refused" in text and "secret" not in text
        assert "set it to null" in text
    with listening(answers=True) as uri:
        assert "no MLflow store answers there" in refusal(tmp_path, uri)
    with listening(answers=False) as uri:
        assert "no answer within 8 s" in refusal(tmp_path, uri)
    assert "no MLflow store answers there" in refusal(tmp_path, "http://no-such-host.invalid:5000")


def test_a_run_that_goes_on_is_not_stopped_by_its_monitoring(tmp_path: Path) -> None:
    told: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        check_store(tmp_path, uri, "unigrpo", resumes=True, warn=told.append)
    assert len(told) == 1 and "the run goes on" in told[0]


def test_a_broken_store_in_the_run_folder_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\0 and then nothing of it")
    told: list[str] = []
    check_store(tmp_path, None, "unigrpo", resumes=False, warn=told.append)
    assert len(told) == 1 and "the run goes on" in told[0]


def test_an_experiment_that_was_deleted_is_one_line_before_the_run(tmp_path: Path) -> None:
    client = MlflowClient(store_uri(tmp_path))
    check_store(tmp_path, None, "unigrpo", resumes=False, warn=pytest.fail)
    client.delete_experiment(client.create_experiment("unigrpo"))
    for uri in (None, store_uri(tmp_path)):
        text = refusal(tmp_path, uri)
        assert (
            text.startswith("tracking.experiment='unigrpo': was deleted in MLflow")
            and "tracking.experiment=new" in text
        )
    check_store(tmp_path, None, "another", resumes=False, warn=pytest.fail)
    client.restore_experiment(client.get_experiment_by_name("unigrpo").experiment_id)  # pyright: ignore
    check_store(tmp_path, None, "unigrpo", resumes=True, warn=pytest.fail)


def test_the_file_is_only_read(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        store.execute("CREATE TABLE experiments (name TEXT, lifecycle_stage TEXT)")
        store.execute("INSERT INTO experiments VALUES ('unigrpo', 'deleted')")
    before = (tmp_path / "mlflow.db").read_bytes()
    assert "was deleted" in refusal(tmp_path, None)
    assert (tmp_path / "mlflow.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


NAMES = (
    "plain", "a?b", "a%20b", "100%", "what?%3F", "%", "?", "%%", "a b", "a#b", "a&b=c", "a@b", "a:b", "größe", "it's", 'say "hi"',
    "a;b", "a*b", "(a)", "~a", "a|b", "a,b", "50%?x=1", "准确率?", "a`b`",
)  # fmt: skip


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands for the environment that make sets up: a Python that says what it is given."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "python").write_text('#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\n')
    (folder / "python").chmod(0o755)
    (folder / "installed").touch()
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_make_mlflow_is_given_the_run_whatever_its_name(name: str, programs: Path, tmp_path: Path) -> None:
    """And the server that it starts shows the same store that the run writes to."""
    run = [
        "make",
        "-s",
        "mlflow",
        f"RUN=runs/{name}",
        f"BIN={programs}",
        f"STAMP={programs / 'installed'}",
        "PORT=5007",
    ]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[-m]", "[rl.tracking.mlflow.server]", f"[runs/{name}]", "[--port]", "[5007]"]
    folder = tmp_path / name / "run"
    folder.mkdir(parents=True)
    (tmp_path / name / "mlflow.db").touch()
    assert where(folder)[0] == store_uri(folder) and sqlite_file(where(folder)[0]) == tmp_path / name / "mlflow.db"


@pytest.mark.parametrize("place", ["/proc/x/y.db", "/proc/y.db", "/sys/a/b/y.db", "/dev/null"])
def test_a_file_that_cannot_be_made_is_found_before_the_run(tmp_path: Path, place: str) -> None:
    """Permissions alone would let the superuser pass."""
    assert place in refusal(tmp_path, f"sqlite:///{place}")
    fresh = tmp_path / "a" / "b" / "y.db"
    check_store(tmp_path, f"sqlite:///{fresh}", "e", resumes=False, warn=pytest.fail)
    assert not list(tmp_path.iterdir())

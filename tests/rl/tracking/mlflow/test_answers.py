"""Servers that answer something else than they should: what is said, and that nothing of the run is lost."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rl.errors import ConfigError
from rl.tracking.mlflow.spool import FOLDER
from rl.tracking.mlflow_store import check_store
from rl.tracking.mlflow_tracker import RUN_FILE, Sampled
from rl.tracking.trackers import JsonlTracker, MlflowTracker, Trackers
from tests.rl.examples import draw_group, score, text_group

GROUPS = [text_group("a", score(1.0, format=1.0), score(0.0, format=0.0)), draw_group("c", score(1.0, clip=0.3))]
SLOW, DROPPED = 0, -1
PAGE = "<html>Sign in</html>"


class Server(ThreadingHTTPServer):
    """Answers every request with one status; SLOW waits, DROPPED hangs up."""

    daemon_threads = True
    status, content = 500, ""
    asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        self.server.asked += 1
        self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.server.status == DROPPED:
            return self.connection.close()
        if self.server.status == SLOW:
            time.sleep(20)
        content = self.server.content.encode()
        self.send_response(self.server.status or 200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = answer

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one
        one.shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own wait for an answer."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def check(server: Server) -> str:
    with pytest.raises(ConfigError) as caught:
        check_store(Path("/nowhere"), address(server), "unigrpo", resumes=False, warn=pytest.fail)
    return str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "You are not authenticated.\nSee https://x", PAGE, '{"error_code": "UNAUTHENTICATED"}']
)
def test_a_wrong_password_is_one_line_that_says_what_to_set(
    server: Server, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    server.status, server.content = 401, content
    assert "refuses a login without a user (401); set MLFLOW_TRACKING_USERNAME and MLFLOW_TR" in check(server)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-wrong-one-7391")
    said = check(server)
    assert "refuses user 'alice' (401)" in said and "\n" not in said and "7391" not in said
    warned: list[str] = []
    check_store(Path("/nowhere"), address(server), "unigrpo", resumes=True, warn=warned.append)
    assert len(warned) == 1 and "the run goes on" in warned[0] and "\n" not in warned[0]


def test_a_user_that_may_not_write_is_told_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.status = 403
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    assert "does not let user 'bob' write there (403); ask for the permission" in check(server)


@pytest.mark.parametrize(("status", "content"), [(500, ""), (429, "later"), (502, PAGE), (200, PAGE), (404, PAGE)])
def test_other_answers_are_one_line_too(server: Server, status: int, content: str) -> None:
    server.status, server.content = status, content
    said = check(server)
    assert "no MLflow store answers there" in said and "\n" not in said and "correct tracking.uri" in said


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, ""), (500, '{"error_code": "INTERNAL_ERROR"}'), (429, "later"), (503, PAGE), (502, ""), (401, ""), (403, ""),
        (200, PAGE), (413, ""), (SLOW, ""), (DROPPED, ""),
    ],
)  # fmt: skip
def test_what_such_a_server_does_not_take_is_there_once_it_does(
    tmp_path: Path, empty_store: Path, caplog: pytest.LogCaptureFixture, server: Server, status: int, content: str
) -> None:
    server.status, server.content = status, content
    one = tracked_by(tmp_path, address(server), resume=False)
    for step in (1, 2):
        one.log(step, {"reward": step / 2})
        one.rollouts(step, GROUPS)
    one.close("FINISHED")
    assert server.asked and f"it waits in {tmp_path / FOLDER}" in caplog.text
    assert caplog.text.count("trying again") <= 1 and "refused" not in caplog.text and "is off" not in caplog.text
    kinds = [path.name.split(".")[1] for path in sorted((tmp_path / FOLDER).iterdir())]
    assert kinds.count("trace") == 4 and kinds.count("metrics") == 2 and kinds[-1] == "close"

    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    tracked_by(tmp_path, None, resume=True).close("FINISHED")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.get_run(json.loads((tmp_path / RUN_FILE).read_text())["run_id"])
    assert [point.step for point in client.get_metric_history(run.info.run_id, "reward")] == [1, 2]
    assert len(client.search_traces(locations=[run.info.experiment_id], run_id=run.info.run_id)) == 4
    assert run.info.status == "FINISHED" and not (tmp_path / FOLDER).exists()


def tracked_by(folder: Path, uri: str | None, *, resume: bool) -> Trackers:
    mlflow = MlflowTracker(folder, name="run", uri=uri, resume=resume, sampled=Sampled(0, 2), retry_s=0.01)
    return Trackers(JsonlTracker(folder, keep_until=float("inf") if resume else -1), mlflow)

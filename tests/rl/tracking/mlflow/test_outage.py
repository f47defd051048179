"""A real server with logins that is killed in the middle of a run and again at its end, and started again."""

from __future__ import annotations

import importlib.util
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from benchmarks.faults.mlflow_server import PASSWORD, USER, RealServer
from rl.errors import ConfigError
from rl.tracking.mlflow.replay import replay
from rl.tracking.mlflow.spool import FOLDER
from rl.tracking.mlflow_store import check_store
from rl.tracking.mlflow_tracker import RUN_FILE, Sampled
from rl.tracking.trackers import JsonlTracker, MlflowTracker, Trackers
from tests.rl.examples import draw_group, score, text_group

GROUPS = [text_group("a", score(1.0, format=1.0), score(0.0, format=0.0)), draw_group("c", score(1.0, clip=0.3))]
STEPS = 30

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(importlib.util.find_spec("flask_wtf") is None, reason="pip install 'mlflow[auth]'"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    one = RealServer(tmp_path_factory.mktemp("server"), auth=True)
    one.start()
    yield one
    one.kill()


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)


def refused(uri: str, experiment: str = "unigrpo") -> str:
    with pytest.raises(ConfigError) as caught:
        check_store(Path("/nowhere"), uri, experiment, resumes=False, warn=pytest.fail)
    return str(caught.value)


def test_no_login_and_a_wrong_password_are_one_line_before_the_run(
    server: RealServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    assert "refuses a login without a user (401); set MLFLOW_TRACKING_USERNAME and" in refused(server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    assert f"refuses user {USER!r} (401)" in refused(server.uri)


def test_a_user_that_may_only_read_is_one_line_before_the_run(
    server: RealServer, login: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tracker(tmp_path, server.uri, "of the admin").close("FINISHED")
    with urllib.request.urlopen(_new_user(server.uri, "bob", "a-password-of-bob-1")) as answer:
        assert answer.status == 200
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-password-of-bob-1")
    assert "does not let user 'bob' write there (403)" in refused(server.uri, "of the admin")
    check_store(Path("/nowhere"), server.uri, "of bob", resumes=False, warn=pytest.fail)


def test_a_server_that_is_killed_in_the_middle_and_at_the_end_has_everything_afterwards(
    server: RealServer, login: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    data = {"train": [{"source": "sudoku4x4"}], "val": [{"source": "sudoku4x4"}]}
    settings = {"name": "run", "output_dir": str(tmp_path), "tracking": {"uri": server.uri}, "data": data}
    (folder / "config.yaml").write_text(json.dumps(settings))
    one = tracker(folder, server.uri, "unigrpo", close_deadline_s=10.0)
    for step in range(1, STEPS + 1):
        one.log(step, {"reward": step / 4, "timing_s/gen": 0.1})
        one.rollouts(step, GROUPS)
        if step == STEPS // 3:
            until(lambda: len(traces(server.uri, folder)) >= 2)
            server.kill()
        if step == STEPS // 2:
            until((folder / FOLDER).is_dir)
            server.start()
            until(lambda: not (folder / FOLDER).exists())
        if step == STEPS - 3:
            server.kill()
    one.close("FINISHED")
    ours = " ".join(record.getMessage() for record in caplog.records if record.name.startswith("rl."))
    assert f"it waits in {folder / FOLDER}" in ours and "MLflow refused" not in ours
    server.start()
    assert replay(folder) == 0
    client = MlflowClient(server.uri)
    run = client.get_run(json.loads((folder / RUN_FILE).read_text())["run_id"])
    for name in ("reward", "5 speed/seconds sampling"):
        assert [point.step for point in client.get_metric_history(run.info.run_id, name)] == list(range(1, STEPS + 1))
    found = [(each.info.tags["step"], each.info.tags["prompt_id"]) for each in traces(server.uri, folder)]
    assert len(found) == len(set(found)) == 2 * STEPS and run.info.status == "FINISHED"
    assert all(each.info.assessments and each.data.spans for each in traces(server.uri, folder))
    assert not (folder / FOLDER).exists()


def tracker(folder: Path, uri: str, experiment: str, **more) -> Trackers:
    mlflow = MlflowTracker(
        folder, name="run", uri=uri, experiment=experiment, sampled=Sampled(0, 2), retry_s=0.2, **more
    )
    return Trackers(JsonlTracker(folder), mlflow)


def traces(uri: str, folder: Path) -> list:
    if not (folder / RUN_FILE).is_file():
        return []
    known = json.loads((folder / RUN_FILE).read_text())
    return list(
        MlflowClient(uri).search_traces(locations=[known["experiment_id"]], run_id=known["run_id"], max_results=500)
    )


def until(holds: Callable[[], bool], seconds: float = 200.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _new_user(uri: str, name: str, password: str) -> urllib.request.Request:
    import base64

    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return urllib.request.Request(
        f"{uri}/api/2.0/mlflow/users/create",
        data=json.dumps({"username": name, "password": password}).encode(),
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )

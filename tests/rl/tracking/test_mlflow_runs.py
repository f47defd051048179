"""Runs in a real store of MLflow: folders with any name, and what happens where somebody deletes a run in the UI."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rl.errors import ConfigError
from rl.tracking.mlflow_address import sqlite_file, store_uri
from rl.tracking.mlflow_store import check_store
from rl.tracking.mlflow_tracker import RUN_FILE
from rl.tracking.trackers import JsonlTracker, MlflowTracker, Trackers
from tests.rl.examples import draw_group, score, text_group
from tests.wide import wide

GROUPS = [text_group("a", score(1.0, correctness=1.0)), draw_group("c", score(1.0, composition=1.0))]
NAMES = [
    "a?b", "a%20b", "a#b", "a b", "a%b", "a%3Fb", "a%", "?", "%", "a?x=1&y=2", "#", "a&b", "a@b", "a:b", "u:p@h", "größe",
    "准确率", "a'b", 'a"b', "a\\b", "a+b", "a;b", "[a]{b}", "$a", "~a", "a*b", "a|b", "🙂", ":memory:", "a?b/c%20d", "x=1",
]  # fmt: skip


def run_of(folder: Path) -> str:
    return json.loads((folder / RUN_FILE).read_text())["run_id"]


@pytest.mark.parametrize("name", wide(NAMES, 4))
def test_the_store_and_its_files_are_in_the_run_folder_whatever_its_name(
    tmp_path: Path, empty_store: Path, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    shutil.copyfile(empty_store, folder / "mlflow.db")
    tracker = MlflowTracker(folder, name="run")
    tracker.log(1, {"reward": 0.5})
    tracker.samples(1, GROUPS, "train")
    tracker.close("FINISHED")
    with sqlite3.connect(folder / "mlflow.db") as store:  # beside MLflow: this file, and no other
        assert store.execute("SELECT key, value FROM metrics").fetchall() == [("reward", 0.5)]
    client = MlflowClient(store_uri(folder))
    assert client.get_run(run_of(folder)).data.metrics == {"reward": 0.5}
    (table,) = client.list_artifacts(run_of(folder), "samples")
    content = json.loads(Path(client.download_artifacts(run_of(folder), table.path)).read_text())
    assert "<think>1+1=2</think>2" in content["data"][0]
    kept = {path.name.split("%")[0] for path in (folder / "mlartifacts").rglob("*.*")}
    assert "train_texts-000001.json" in kept and any(file.endswith(".png") for file in kept)
    assert [path.name for path in tmp_path.iterdir()] == [name.split("/")[0]]  # and nothing beside it
    assert sqlite_file(store_uri(folder)) == folder / "mlflow.db"
    check_store(folder, None, "unigrpo", resumes=False, warn=pytest.fail)


@pytest.mark.parametrize("name", ["plain", "a?b%20c"])
def test_a_new_store_is_made_beside_the_run_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "run"
    folder.mkdir(parents=True)
    tracker = MlflowTracker(folder, name="run")
    tracker.log(1, {"reward": 0.5})
    tracker.close("FINISHED")
    with sqlite3.connect(tmp_path / name / "mlflow.db") as store:
        assert store.execute("SELECT key, value FROM metrics").fetchall() == [("reward", 0.5)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_pictures_of_a_file_that_runs_share_are_beside_it(tmp_path: Path, empty_store: Path) -> None:
    shared, run_dir = tmp_path / "shared", tmp_path / "run"
    for folder in (shared, run_dir):
        folder.mkdir()
    shutil.copyfile(empty_store, shared / "all.db")
    tracker = MlflowTracker(run_dir, name="run", uri=f"sqlite:///{shared}/all.db")
    tracker.samples(1, GROUPS, "train")
    tracker.close("FINISHED")
    assert [path.name for path in (shared / "mlartifacts").rglob("train_texts*")] == ["train_texts-000001.json"]
    assert [path.name for path in run_dir.iterdir()] == [RUN_FILE]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's own server on loopback, stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_for(uri, process)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # the server and the workers that it started: a group of their own
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)


def wait_for(uri: str, process: subprocess.Popen[bytes], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail("the server did not start")


@pytest.fixture(params=wide(["file", "server"], 2))
def place(request: pytest.FixtureRequest, tmp_path: Path, empty_store: Path) -> str | None:
    """``tracking.uri``: the run's own store, or a server's."""
    if request.param == "server":
        return request.getfixturevalue("server")
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    return None


def trackers(folder: Path, place: str | None, experiment: str, resume: bool) -> Trackers:
    mlflow = MlflowTracker(folder, name="run", uri=place, experiment=experiment, params={"mu": 4}, resume=resume)
    return Trackers(JsonlTracker(folder, keep_until=float("inf") if resume else -1), mlflow)


def points(client: MlflowClient, run_id: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client.get_metric_history(run_id, "reward"))


def test_a_run_that_was_deleted_in_the_ui_goes_on_as_a_new_one(
    tmp_path: Path, place: str | None, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    experiment = f"deleted-{request.node.name}"
    first = trackers(tmp_path, place, experiment, resume=False)
    first.log(1, {"reward": 0.25})
    first.close("KILLED")
    client, old = MlflowClient(place or store_uri(tmp_path)), run_of(tmp_path)
    client.delete_run(old)
    check_store(tmp_path, place, experiment, resumes=True, warn=pytest.fail)
    with caplog.at_level(logging.WARNING):
        again = trackers(tmp_path, place, experiment, resume=True)
        again.log(2, {"reward": 0.5})
        again.close("FINISHED")
    assert run_of(tmp_path) != old
    assert points(client, run_of(tmp_path)) == [(1, 0.25), (2, 0.5)]
    run = client.get_run(run_of(tmp_path))
    assert (run.info.status, run.data.params["mu"], run.info.lifecycle_stage) == ("FINISHED", "4", "active")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("rl.")]
    assert ours == [f"MLflow: run {old} was deleted there; a new one gets all its numbers"]


def test_a_run_that_is_deleted_while_it_runs_goes_on_as_a_new_one(
    tmp_path: Path, place: str | None, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    experiment = f"deleted-{request.node.name}"
    tracker = trackers(tmp_path, place, experiment, resume=False)
    tracker.log(1, {"reward": 0.25})
    client = MlflowClient(place or store_uri(tmp_path))
    deadline = time.monotonic() + 100
    while not (tmp_path / RUN_FILE).is_file() or not points(client, run_of(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    old = run_of(tmp_path)
    client.delete_run(old)
    with caplog.at_level(logging.WARNING):
        tracker.log(2, {"reward": 0.5})
        tracker.log(3, {"reward": 0.75})
        tracker.close("FINISHED")
    assert run_of(tmp_path) != old
    assert points(client, run_of(tmp_path)) == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert client.get_run(run_of(tmp_path)).info.status == "FINISHED"
    assert caplog.text.count("was deleted there") == 1 and "refused" not in caplog.text


@pytest.mark.long
def test_an_experiment_that_was_deleted_on_the_server_is_one_line(tmp_path: Path, server: str) -> None:
    client = MlflowClient(server)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(ConfigError, match=r"tracking.experiment='gone': was deleted in MLflow \(http://127") as caught:
        check_store(tmp_path, server, "gone", resumes=False, warn=pytest.fail)
    assert "\n" not in str(caught.value)
    check_store(tmp_path, server, "not there yet", resumes=False, warn=pytest.fail)


def test_names_of_all_alphabets_keep_their_values(tmp_path: Path, place: str | None) -> None:
    names = "точность скорость 准确率 召回率 größe gräße acc@1 acc#1 acc_1 acc:1".split()
    tracker = MlflowTracker(tmp_path, name="run", uri=place, experiment="names")
    tracker.log(1, {name: float(index) for index, name in enumerate(names, 1)})
    tracker.close("FINISHED")
    kept = MlflowClient(place or store_uri(tmp_path)).get_run(run_of(tmp_path)).data.metrics
    assert sorted(kept.values()) == [float(index) for index in range(1, len(names) + 1)]
    assert {"точность", "召回率", "größe", "acc_1", "acc:1", "acc_U0040_1"} <= kept.keys()

"""The model in an environment that has its requirements and nothing else; over HTTP; and after a kill. Minutes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.model.log import log_models
from policies.files.folders import check_files
from rl.config import Config
from tests.cluster.model.finished import finished_run, uri_of
from tests.cluster.recipe import write_recipe

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
SUDOKU = "sudoku 3000042343122034"
START_S = 300.0
ASK = """
import json, sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/toy@best")
rows = [{"prompt": sys.argv[2]}, {"prompt": "a red circle", "task": "draw"}]
answers = model.predict(rows, params={"seed": 7})
import policies
assert "unigrpo.zip" in policies.__file__
print(json.dumps({"text": answers["text"][0], "tokens": [list(each) for each in answers["tokens"]]}))
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Config:
    config = finished_run(tmp_path_factory.mktemp("fresh"), empty_store, check_files("tiny"), {2: 0.5})
    assert log_models(config, lambda line: None)
    return config


def outside(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    return {**kept, **more}


def answer_of(config: Config) -> str:
    words = ["generate", SUDOKU, "--recipe", str(config.run_dir / "config.yaml"), "seed=7"]
    return CliRunner().invoke(app, [*words, f"policy.path={config.run_dir / 'policy'}"]).output.splitlines()[0]


def test_its_requirements_alone_are_enough(config: Config, tmp_path: Path) -> None:
    (folder,) = Path(config.output_dir).glob("mlartifacts/models/*/artifacts")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "fresh")], check=True, timeout=300, env=outside())
    python = str(tmp_path / "fresh" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "-r", str(folder / "requirements.txt")]
    done = subprocess.run(install, capture_output=True, text=True, timeout=1200, env=outside())
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    asked = subprocess.run(
        [python, "-c", ASK, uri_of(config), SUDOKU],
        capture_output=True,
        text=True,
        timeout=600,
        env=outside(),
        cwd=tmp_path,
    )
    assert asked.returncode == 0, asked.stderr
    there = json.loads(asked.stdout.splitlines()[-1])
    here = subprocess.run(
        [sys.executable, "-P", "-c", ASK, uri_of(config), SUDOKU],
        capture_output=True,
        text=True,
        timeout=600,
        env=outside(),
    )
    assert there == json.loads(here.stdout.splitlines()[-1]) and there["text"] == answer_of(config)


@pytest.fixture
def server(config: Config) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/toy/latest", "--env-manager", "local"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env=outside(PATH=path, MLFLOW_TRACKING_URI=uri_of(config)), start_new_session=True,
    )  # fmt: skip
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    try:
        while time.monotonic() < until and process.poll() is None:
            try:
                urllib.request.urlopen(f"{address}/ping", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def post(address: str, content: Mapping[str, Any]) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/invocations", json.dumps(content).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_it_is_served_over_http(config: Config, server: str) -> None:
    status, said = post(server, {"dataframe_records": [{"prompt": SUDOKU}], "params": {"seed": 7}})
    assert status == 200 and said["predictions"][0]["text"] == answer_of(config)
    assert post(server, {"dataframe_records": [{"prompt": "a red circle", "task": "draw"}]})[0] == 200
    status, said = post(server, {"dataframe_records": [{"prompt": "x", "task": "sing"}]})
    assert status == 400 and "row 0: task='sing'" in said["message"]


def test_a_run_that_is_killed_while_it_logs_registers_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process and SIGKILL, as soon as the model's first file is in the store."""
    recipe = write_recipe(
        tmp_path, output_dir=str(tmp_path / "runs"), save_freq=1, cluster={"mode": "inline"},
        tracking={"registered_model": "toy", "machine_s": 0},
    )  # fmt: skip
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", str(recipe)]
    environment = {**os.environ, "REWARD_KEY": "x", "PYTHONPATH": str(Path(__file__).parents[3])}
    monkeypatch.chdir(tmp_path)  # where the recipe's files are
    process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    until = time.monotonic() + START_S
    while not list((tmp_path / "runs").glob("mlartifacts/models/*/artifacts/**/*.safetensors")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("unigrpo")
    assert experiment is not None
    assert [each.status for each in client.search_logged_models([experiment.experiment_id])] == ["PENDING"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_S)
    assert done.returncode == 0 and "toy, version 1" in done.stdout, done.stderr
    assert [each.status for each in client.search_logged_models([experiment.experiment_id])] == ["READY"]
    assert len(client.search_model_versions("name='toy'")) == 1
    assert len(client.search_runs([experiment.experiment_id])) == 1

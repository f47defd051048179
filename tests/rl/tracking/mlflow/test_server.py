"""MLflow's pages of a run: a real server on loopback, what it serves, and that nothing of it is left."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from rl.tracking.mlflow import server
from rl.tracking.mlflow_tracker import RUN_FILE, Sampled
from rl.tracking.trackers import JsonlTracker, MlflowTracker, Trackers
from tests.rl.examples import draw_group, score, text_group

ROOT = Path(__file__).parents[4]
GROUPS = [text_group("a", score(1.0, format=1.0), score(0.0, format=0.0)), draw_group("c", score(1.0, clip=0.3))]


@dataclass(frozen=True, slots=True)
class Served:
    process: subprocess.Popen[str]
    said: str
    address: str
    run_id: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((server.HOST, 0))
        return probe.getsockname()[1]


def log(folder: Path, uri: str | None = None, **more) -> str:
    one = Trackers(JsonlTracker(folder), MlflowTracker(folder, name="run", uri=uri, sampled=Sampled(0, 2), **more))
    one.log(1, {"critic/rewards/mean": 0.5})
    one.rollouts(1, GROUPS)
    one.samples(1, GROUPS, "val")
    one.close("FINISHED")
    return json.loads((folder / RUN_FILE).read_text())["run_id"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Served]:
    """The pages of a folder that was moved after its run."""
    old = tmp_path_factory.mktemp("served") / "runs"
    (old / "run").mkdir(parents=True)
    shutil.copyfile(empty_store, old / "mlflow.db")
    run_id = log(old / "run")
    new = old.parent / "moved"
    old.rename(new)
    port = free_port()
    command = [sys.executable, "-m", "rl.tracking.mlflow.server", str(new / "run"), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        yield Served(process, said, f"http://{server.HOST}:{port}", run_id)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def test_it_prints_the_runs_page_and_what_to_look_at_first(served: Served) -> None:
    page = f"{served.address}/#/experiments/1/runs/{served.run_id}?workflowType=machine_learning"
    assert page in served.said.split() and "Look at first" in served.said and "ssh -L" in served.said


def test_over_http_the_run_has_its_numbers_tables_and_pictures_also_after_a_move(
    served: Served, tmp_path: Path
) -> None:
    client = MlflowClient(served.address)
    assert client.get_run(served.run_id).data.metrics["critic/rewards/mean"] == 0.5
    table = client.download_artifacts(served.run_id, "samples/val_texts-000001.json", str(tmp_path))
    assert "1+1=2" in Path(table).read_text()
    experiment = client.get_run(served.run_id).info.experiment_id
    found = client.search_traces(locations=[experiment], run_id=served.run_id, filter_string="feedback.format = '0'")
    assert {each.info.tags["task"] for each in found} == {"text"}
    drawn = client.search_traces(locations=[experiment], run_id=served.run_id, filter_string="tags.task = 'draw'")[0]
    link = next(span.outputs["picture"] for span in drawn.data.spans if span.name == "rollout 0")
    name = link.removeprefix("mlflow-attachment://").split("?")[0]
    address = f"{served.address}/ajax-api/3.0/mlflow/get-trace-artifact?request_id={drawn.info.trace_id}&path={name}"
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert answer.read().startswith(b"\x89PNG")


def test_a_run_that_logs_over_http_has_the_same_traces_once(served: Served, tmp_path: Path) -> None:
    run_id = log(tmp_path, served.address)
    (tmp_path / RUN_FILE).write_text(
        json.dumps({"run_id": run_id})
    )  # as if the process died before it noted what it wrote
    assert log(tmp_path, served.address, resume=True) == run_id
    client = MlflowClient(served.address)
    experiment = client.get_run(run_id).info.experiment_id
    traces = client.search_traces(locations=[experiment], run_id=run_id)
    assert len(traces) == 4
    text = next(each for each in traces if each.info.tags["task"] == "text")
    assert len(text.info.assessments) == 4 and len(text.data.spans) == 6 + (text.info.tags["set"] == "train")


def test_it_ends_with_everything_that_it_started(served: Served) -> None:
    below = psutil.Process(served.process.pid).children(recursive=True)
    assert below
    listening = {each.laddr.ip for one in below for each in one.net_connections("tcp") if each.status == "LISTEN"}
    assert listening == {server.HOST}
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0
    _, alive = psutil.wait_procs(below, timeout=20)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert server.main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said


def test_a_mistake_is_one_line_with_a_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "give a run's folder" in refusal(capsys, str(tmp_path / "nothing" / "here"))
    for port in ("x", "0", "70000", "-1", "5.5", ""):
        assert "from 1 to 65535" in refusal(capsys, str(tmp_path), f"--port={port}")
    with socket.socket() as taken:
        taken.bind((server.HOST, 0))
        taken.listen()
        assert "give another" in refusal(capsys, str(tmp_path), f"--port={taken.getsockname()[1]}")


def test_a_run_on_a_server_is_told_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("tracking: {uri: 'http://10.0.0.9:5000/'}\n")
    (tmp_path / RUN_FILE).write_text(json.dumps({"run_id": "abc", "experiment_id": "7"}))
    assert server.main([str(tmp_path), f"--port={free_port()}"]) == 0
    assert "http://10.0.0.9:5000/#/experiments/7/runs/abc" in capsys.readouterr().out


def test_the_folder_of_several_runs_will_do(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    (tmp_path / "run").mkdir()
    for folder in (tmp_path, tmp_path / "run"):
        assert server.where(folder)[0] == f"sqlite:///{tmp_path}/mlflow.db"

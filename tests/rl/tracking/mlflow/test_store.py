"""The store that the runs of a folder share: several at once, after a move, and with the kind that the pages ask for."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rl.tracking.mlflow.store import ARTIFACTS, BESIDE, KIND, TRAINING, follow
from rl.tracking.mlflow_address import store_uri
from rl.tracking.mlflow_tracker import RUN_FILE, Sampled
from rl.tracking.trackers import JsonlTracker, MlflowTracker, Trackers
from tests.rl.examples import draw_group, score, text_group

ROOT = Path(__file__).parents[4]
GROUPS = [text_group("a", score(1.0, correctness=1.0)), draw_group("c", score(1.0, composition=1.0))]
WRITER = """
import sys
from pathlib import Path
from rl.tracking.mlflow_tracker import MlflowTracker
folder = Path(sys.argv[1])
folder.mkdir()
tracker = MlflowTracker(folder, name=folder.name, retry_s=0.1, close_deadline_s=250)
for step in range(30):
    tracker.log(step, {f"m{number}": step + number for number in range(20)})
tracker.close("FINISHED")
"""


def logged(output: Path, name: str) -> str:
    folder = output / name
    folder.mkdir(parents=True)
    tracker = Trackers(JsonlTracker(folder), MlflowTracker(folder, name=name, sampled=Sampled(0, 2)))
    tracker.log(1, {"reward": 0.5})
    tracker.samples(1, GROUPS, "val")
    tracker.close("FINISHED")
    return json.loads((folder / RUN_FILE).read_text())["run_id"]


@pytest.mark.long
def test_three_runs_at_once_share_one_store_that_none_of_them_made_before(tmp_path: Path) -> None:
    output = tmp_path / "runs"
    output.mkdir()
    command = [sys.executable, "-c", WRITER]
    runs = [
        subprocess.Popen([*command, str(output / name)], cwd=ROOT, stderr=subprocess.PIPE, text=True) for name in "abc"
    ]
    errors = [run.communicate(timeout=280)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], errors
    client = MlflowClient(store_uri(output / "a"))
    experiments = client.search_experiments(filter_string="name = 'unigrpo'")
    assert [each.tags[KIND] for each in experiments] == [TRAINING]
    found = client.search_runs([experiments[0].experiment_id])
    assert sorted(str(run.info.run_name) for run in found) == ["a", "b", "c"]
    for run in found:
        points = client.get_metric_history(run.info.run_id, "m3")
        assert sorted((point.step, point.value) for point in points) == [(step, step + 3) for step in range(30)]
        assert run.info.status == "FINISHED"


def test_a_folder_that_was_moved_keeps_its_pictures_and_traces(tmp_path: Path, empty_store: Path) -> None:
    old, new = tmp_path / "runs", tmp_path / "elsewhere" / "runs of may"
    old.mkdir()
    shutil.copyfile(empty_store, old / "mlflow.db")
    run = logged(old, "a")
    new.parent.mkdir()
    old.rename(new)
    follow(new / "mlflow.db")
    client = MlflowClient(store_uri(new / "a"))
    table = Path(client.download_artifacts(run, "samples/val_texts-000001.json"))
    assert "1+1=2" in table.read_text()
    experiment = client.get_run(run).info.experiment_id
    traces = client.search_traces(locations=[experiment], run_id=run)
    drawn = next(trace for trace in traces if trace.info.tags["task"] == "draw")
    place = drawn.info.tags["mlflow.artifactLocation"]
    assert place.startswith((new / ARTIFACTS).as_uri()) and (new / ARTIFACTS / "traces" / drawn.info.trace_id).is_dir()
    assert logged(new, "b") != run  # and the next run of the folder writes beside it
    assert not old.exists()


def test_places_that_a_user_chose_are_left_alone(tmp_path: Path, empty_store: Path) -> None:
    file = tmp_path / "mlflow.db"
    shutil.copyfile(empty_store, file)
    client = MlflowClient(f"sqlite:///{file}")
    theirs = client.create_experiment("theirs", artifact_location="file:///data/theirs")
    ours = client.create_experiment(
        "ours", artifact_location="file:///old/mlartifacts", tags={BESIDE: "beside the store"}
    )
    runs = [client.create_run(each).info.run_id for each in (theirs, ours)]
    follow(file)
    follow(file)
    assert client.get_run(runs[0]).info.artifact_uri == f"file:///data/theirs/{runs[0]}/artifacts"
    assert client.get_run(runs[1]).info.artifact_uri == f"{(tmp_path / ARTIFACTS).as_uri()}/{runs[1]}/artifacts"


def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    follow(file)
    with sqlite3.connect(file) as store:
        store.execute("CREATE TABLE experiments (experiment_id INTEGER, artifact_location TEXT)")
    before = file.read_bytes()
    follow(file)
    assert file.read_bytes() == before


def test_a_store_in_the_run_folder_itself_is_taken_where_it_is_there(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    assert store_uri(run) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    run.mkdir(parents=True)
    (run / "mlflow.db").touch()
    assert store_uri(run) == f"sqlite:///{run}/mlflow.db"

"""Numbers of short steps are written together: none is lost, and one that is refused takes no other along."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rl.tracking import mlflow_tracker
from rl.tracking.mlflow.events import Event
from rl.tracking.mlflow.machine import Node
from rl.tracking.mlflow.points import Point
from rl.tracking.mlflow.run import Run
from rl.tracking.mlflow_tracker import RUN_FILE, MlflowTracker, Sampled
from tests.rl.examples import score, text_group

STEPS = 50


@pytest.fixture
def folder(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mlflow_tracker, "GATHER_S", 1000.0)
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def stored(folder: Path):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return client, client.get_run(json.loads((folder / RUN_FILE).read_text())["run_id"])


def test_many_short_steps_are_few_calls_and_every_point(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    inner = Run._write_points

    def counted(self: Run, points: Sequence[Point]) -> None:
        sizes.append(len(points))
        inner(self, points)

    monkeypatch.setattr(Run, "_write_points", counted)
    tracker = MlflowTracker(folder, name="run")
    for step in range(1, STEPS + 1):
        tracker.log(step, {"critic/rewards/mean": step / 4, "late": 0.0 if step < 30 else 1.0, "never": 0.0})
        tracker.machine({"system/node-a/cpu": 1.0 * step})
        tracker.machine({"system/node-b/cpu": 2.0 * step})
    tracker.log(STEPS, {"critic/rewards/mean": -1.0, "timing_s/save_checkpoint": 0.5})
    tracker.close("FINISHED")
    assert len(sizes) <= 3
    client, run = stored(folder)
    for name in ("critic/rewards/mean", "2 reward/mean", "late"):
        history = client.get_metric_history(run.info.run_id, name)
        assert [point.step for point in history] == list(range(1, STEPS + 1))
    assert client.get_metric_history(run.info.run_id, "critic/rewards/mean")[-1].value == STEPS / 4  # the first counts
    assert "never" not in run.data.metrics and run.data.metrics["timing_s/save_checkpoint"] == 0.5
    for node, factor in (("a", 1), ("b", 2)):
        history = client.get_metric_history(run.info.run_id, f"system/node-{node}/cpu")
        assert [(point.step, point.value) for point in history] == [(n, factor * (n + 1.0)) for n in range(STEPS)]


def test_one_that_is_refused_takes_no_other_along(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inner = Run.write

    def picky(self: Run, *events: Event) -> None:
        inner(self)  # connects
        if any(getattr(event, "step", 0) == 7 for event in events):
            raise ValueError("step 7 is refused")
        inner(self, *events)

    monkeypatch.setattr(Run, "write", picky)
    tracker = MlflowTracker(folder, name="run")
    for step in range(1, 11):
        tracker.log(step, {"reward": 1.0})
    tracker.close("FINISHED")
    client, run = stored(folder)
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "reward")]
    assert steps == [1, 2, 3, 4, 5, 6, 8, 9, 10]
    assert caplog.text.count("MLflow refused metrics of step 7") == 1 and run.info.status == "FINISHED"


def test_steps_between_the_traced_ones_have_no_traces(folder: Path) -> None:
    tracker = MlflowTracker(folder, name="run", sampled=Sampled(0, 1, every=5))
    for step in range(1, 13):
        tracker.rollouts(step, [text_group("a", score(1.0, format=1.0))])
    tracker.close("FINISHED")
    client, run = stored(folder)
    found = client.search_traces(locations=[run.info.experiment_id], run_id=run.info.run_id)
    assert sorted(int(each.info.tags["step"]) for each in found) == [5, 10]


def test_the_first_reading_of_the_processor_is_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []

    def percent(interval: float | None) -> float:
        asked.append(interval)
        return 0.0 if interval is None and len(asked) == 1 else 50.0

    monkeypatch.setattr("rl.tracking.mlflow.machine.psutil.cpu_percent", percent)
    node = Node("n")
    assert [node.sample()["system/n/cpu_utilization_percentage"] for _ in range(2)] == [50.0, 50.0]
    assert asked[0] and asked[1] is None

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rl.tracking.metrics_file import curve, read_metrics
from rl.tracking.mlflow_address import store_uri
from rl.tracking.mlflow_tracker import RUN_FILE
from rl.tracking.samples import load_drawings
from rl.tracking.trackers import JsonlTracker, MlflowTracker, Trackers, tracked
from tests.rl.examples import draw_group, failed, score, text_group

GROUPS = [
    text_group("a", score(2.5, correctness=2.0, format=0.5), score(0.0)),
    text_group("b", failed(), source="sudoku4x4"),
    draw_group("c", score(1.0, composition=1.0, clip=0.3)),
    draw_group("d", score(0.0, composition=0.0, clip=0.1), colour=(0, 0, 255)),
]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: two steps, samples once. The store takes seconds to create, so tests that only read share it."""
    folder = tmp_path_factory.mktemp("run")
    tracker = Trackers(
        JsonlTracker(folder),
        MlflowTracker(folder, name="first", params={"learner": {"lr": 0.1}, "data": {"train": [{"source": "sums"}]}}),
    )
    with tracked(tracker):
        tracker.log(1, {"critic/rewards/mean": 0.5, "odd@name[0]": 1.0})
        tracker.samples(1, GROUPS, "train")
        tracker.log(2, {"critic/rewards/mean": 0.75})
    return folder


def client_and_run(folder: Path):
    client = MlflowClient(store_uri(folder))
    run_id = json.loads((folder / RUN_FILE).read_text())["run_id"]
    return client, client.get_run(run_id)


def history(folder: Path, name: str) -> list[tuple[int, float]]:
    client, run = client_and_run(folder)
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name))


def test_mlflow_has_the_metrics_parameters_name_and_status(run_dir: Path):
    _, run = client_and_run(run_dir)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.params == {"learner.lr": "0.1", "data.train.0.source": "sums"}
    assert history(run_dir, "critic/rewards/mean") == [(1, 0.5), (2, 0.75)]
    assert history(run_dir, "odd_U0040_name_U005B_0_U005D_") == [(1, 1.0)]


def test_mlflow_has_drawings_as_an_image_and_texts_as_one_table_a_step(run_dir: Path):
    client, run = client_and_run(run_dir)
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert [path for path in images if path.startswith("images/train_drawings") and path.endswith(".png")]
    (table,) = client.list_artifacts(run.info.run_id, "samples")
    content = json.loads(Path(client.download_artifacts(run.info.run_id, table.path)).read_text())
    rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    assert [row["prompt_id"] for row in rows] == ["sums/a", "sudoku4x4/b"]
    assert rows[0]["response"] == "<think>1+1=2</think>2"
    assert rows[0]["score"] == 2.5
    assert rows[1]["score"] is None and rows[1]["status"] == "timeout"


def test_a_resumed_run_is_the_same_run_without_doubled_points(tmp_path: Path):
    for first_step in (1, 2):  # the second process starts from a checkpoint of step 1, and repeats step 2
        tracker = MlflowTracker(tmp_path, name="once", params={"lr": 0.1 * first_step, "mu": 4}, resume=first_step > 1)
        for step in (first_step, first_step + 1):
            tracker.log(step, {"reward": float(step)})
            tracker.samples(step, GROUPS, "train")
        tracker.close("FAILED" if first_step == 1 else "FINISHED")
    client, run = client_and_run(tmp_path)
    assert history(tmp_path, "reward") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.1", "mu": "4"}
    assert {key: value for key, value in run.data.tags.items() if key.startswith("resumed/")} == {"resumed/lr": "0.2"}
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "images") if file.path.endswith(".png")]
    assert len(pictures) == 3
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    assert len(client.search_runs(experiments, "attributes.run_name = 'once'")) == 1


def test_what_the_store_missed_is_logged_on_resume(tmp_path: Path):
    jsonl = JsonlTracker(tmp_path)
    jsonl.log(1, {"reward": 0.25})
    jsonl.log(2, {"reward": 0.5})
    tracker = MlflowTracker(tmp_path, name="run", resume=True)
    tracker.log(3, {"reward": 0.75})
    tracker.close("FINISHED")
    assert history(tmp_path, "reward") == [(1, 0.25), (2, 0.5), (3, 0.75)]


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")]
)
def test_the_run_ends_in_the_status_of_its_block(error: type[BaseException], status: str):
    class Recorder(Trackers):
        def close(self, status: str) -> None:
            statuses.append(status)

    statuses: list[str] = []
    with pytest.raises(error), tracked(Recorder()):
        raise error
    assert statuses == [status]


def test_a_crash_leaves_a_failed_run(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), tracked(MlflowTracker(tmp_path, name="run")) as tracker:
        tracker.log(1, {"reward": 1 / 0})
    assert client_and_run(tmp_path)[1].info.status == "FAILED"


def test_a_dead_server_costs_the_run_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and never listening: every connection is refused
        port = taken.getsockname()[1]
        tracker = MlflowTracker(tmp_path, name="run", uri=f"http://127.0.0.1:{port}", close_deadline_s=0.2)
        started = time.monotonic()
        for step in range(100):
            tracker.log(step, {"reward": 1.0})
        assert time.monotonic() - started < 1.0
        with caplog.at_level(logging.WARNING):
            tracker.close("FINISHED")
    assert "resume logs" in caplog.text


def test_jsonl_is_flushed_each_step_and_the_later_value_of_a_step_counts(tmp_path: Path):
    tracker = JsonlTracker(tmp_path)
    tracker.log(1, {"reward": 0.5, "kl": 0.1})
    assert [dict(point.metrics) for point in read_metrics(tmp_path)] == [{"reward": 0.5, "kl": 0.1}]
    tracker.log(2, {"reward": 0.6})
    tracker.log(1, {"reward": 0.7, "bad": float("nan")})
    assert [(point.step, dict(point.metrics)) for point in read_metrics(tmp_path)] == [
        (1, {"reward": 0.7, "kl": 0.1}),
        (2, {"reward": 0.6}),
    ]
    assert curve(read_metrics(tmp_path), "kl") == ([1], [0.1])


def test_jsonl_survives_a_torn_line(tmp_path: Path):
    JsonlTracker(tmp_path).log(1, {"reward": 0.5})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "rew')
    JsonlTracker(tmp_path, keep_until=float("inf")).log(2, {"reward": 0.75})
    assert curve(read_metrics(tmp_path), "reward") == ([1, 2], [0.5, 0.75])


def test_jsonl_keeps_lines_that_could_not_be_written(tmp_path: Path):
    tracker = JsonlTracker(tmp_path)
    (tmp_path / "metrics.jsonl").mkdir()  # nothing can be appended to a folder
    together = Trackers(tracker)
    together.log(1, {"reward": 0.5})
    (tmp_path / "metrics.jsonl").rmdir()
    together.log(2, {"reward": 0.6})
    assert curve(read_metrics(tmp_path), "reward") == ([1, 2], [0.5, 0.6])


def test_another_way_from_a_step_sets_the_old_future_aside(tmp_path: Path):
    tracker = JsonlTracker(tmp_path)
    for step in (1, 2, 3):
        tracker.log(step, {"reward": float(step)})
        tracker.samples(step, GROUPS, "val")
    JsonlTracker(tmp_path, keep_until=1)
    assert curve(read_metrics(tmp_path), "reward") == ([1], [1.0])
    assert curve(read_metrics(tmp_path / "set_aside_1"), "reward") == ([1, 2, 3], [1.0, 2.0, 3.0])
    assert sorted(folder.name for folder in (tmp_path / "samples").iterdir()) == ["val-000001"]
    JsonlTracker(tmp_path)
    assert read_metrics(tmp_path) == []
    assert len(read_metrics(tmp_path / "set_aside_2")) == 1


def test_samples_are_kept_in_the_run_folder(run_dir: Path):
    folder = run_dir / "samples" / "train-000001"
    drawn = load_drawings(folder)
    assert [(drawing.prompt_id, drawing.score) for drawing in drawn] == [("scenes/c", 1.0), ("scenes/d", 0.0)]
    assert drawn[1].pixels.shape == (8, 8, 3) and tuple(drawn[1].pixels[0, 0]) == (0, 0, 255)
    assert drawn[0].parts == {"composition": 1.0, "clip": 0.3}
    assert len((folder / "texts.jsonl").read_text().splitlines()) == 2


def test_a_broken_tracker_stops_neither_the_run_nor_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    class Broken(JsonlTracker):
        def log(self, step, metrics):
            raise RuntimeError("out of order")

    together = Trackers(Broken(tmp_path / "a"), JsonlTracker(tmp_path / "b"))
    together.log(1, {"reward": 0.5})
    together.log(2, {"reward": 0.6})
    assert curve(read_metrics(tmp_path / "b"), "reward") == ([1, 2], [0.5, 0.6])
    assert caplog.text.count("out of order") == 1


def test_a_store_that_comes_back_gets_everything_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    place = tmp_path / "away"
    place.touch()  # a file where the store's folder must be
    uri = f"sqlite:///{place / 'mlflow.db'}"
    tracker = MlflowTracker(tmp_path, name="run", uri=uri, retry_s=0.05)
    tracker.log(1, {"reward": 0.5})
    tracker.log(2, {"reward": 0.6})
    wait_until(lambda: "trying again" in caplog.text)
    assert tracker.run_id is None
    place.unlink()
    wait_until(lambda: tracker.run_id is not None)
    tracker.close("FINISHED")
    points = MlflowClient(uri).get_metric_history(str(tracker.run_id), "reward")
    assert [(point.step, point.value) for point in points] == [(1, 0.5), (2, 0.6)]
    assert caplog.text.count("trying again") == 1 or caplog.records[1].levelno == logging.INFO


def test_what_the_store_refuses_costs_no_other_number(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    tracker = MlflowTracker(tmp_path, name="run")
    tracker.log(1, {"reward": 0.5})
    tracker.log(2**70, {"reward": 0.6})  # no database takes such a step
    tracker.log(3, {"reward": 0.7})
    tracker.close("FINISHED")
    assert history(tmp_path, "reward") == [(1, 0.5), (3, 0.7)]
    assert "refused metrics" in caplog.text


def wait_until(condition: Callable[[], bool], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)

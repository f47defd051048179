"""What MLflow has of a run, read back through its own client."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from rl.config import load_config
from rl.tracking.mlflow.page import NOTE, About, Data, digest, parameters
from rl.tracking.mlflow.replay import replay
from rl.tracking.mlflow.spool import FOLDER
from rl.tracking.mlflow_address import store_uri
from rl.tracking.mlflow_tracker import RUN_FILE, Sampled
from rl.tracking.trackers import JsonlTracker, MlflowTracker, Trackers, tracked
from rl.types import Group, RewardCall, Score, ScoreStatus, Task
from tests.rl.examples import draw_group, failed, text_group

SAMPLED = Sampled(0, 2, lambda group: [1.0] * len(group.rollouts))


def judged(value: float, **parts: float) -> Score:
    return Score(value, parts=parts, calls={name: RewardCall(ScoreStatus.OK, 0.25) for name in parts})


def looks(name: str) -> Group:
    group = text_group(name, judged(1.0, correctness=1.0), task=Task.UNDERSTAND, source="easy_vqa", text="red")
    return dataclasses.replace(group, prompt=dataclasses.replace(group.prompt, image=np.zeros((8, 8, 3), np.uint8)))


GROUPS = [
    text_group("a", judged(2.5, correctness=2.0, format=0.5), judged(0.0, correctness=0.0, format=0.0)),
    text_group("b", failed()),
    looks("u"),
    draw_group("d", judged(1.0, clip=0.3)),
]


def made(folder: Path, store: Path) -> Path:
    folder.mkdir()
    shutil.copyfile(store, folder / "mlflow.db")
    return folder


def tracker(folder: Path, *, resume: bool = False, **more) -> Trackers:
    mlflow = MlflowTracker(folder, name="run", resume=resume, sampled=SAMPLED, retry_s=0.05, **more)
    return Trackers(JsonlTracker(folder, keep_until=float("inf") if resume else -1), mlflow)


def stored(folder: Path):
    client = MlflowClient(store_uri(folder))
    return client, client.get_run(json.loads((folder / RUN_FILE).read_text())["run_id"])


def table(client: MlflowClient, run, name: str) -> list[dict]:
    content = json.loads(Path(client.download_artifacts(run.info.run_id, f"samples/{name}.json")).read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A run that is killed after step 2 and goes on from step 1, with everything on."""
    folder = made(tmp_path_factory.mktemp("writes") / "run", empty_store)
    config = load_config("tiny", [f"output_dir={folder.parent}", "name=run", "steps=3"])
    (folder / "config.yaml").write_text("steps: 3\n")
    about = About(config, "train", "tiny", ("unigrpo", "train", "--recipe", "tiny", "name=`run` <b>"), [
        Data("sums (data.train[0])", "sums", True, [group.prompt for group in GROUPS])])  # fmt: skip
    for steps, status in (((1, 2), "KILLED"), ((2, 3), "FINISHED")):
        about = dataclasses.replace(about, resumes="global_step_1" if status == "FINISHED" else "")
        more = {"about": about, "params": parameters(config), "machine_s": 30.0, "files": ("config.yaml",)}
        one = tracker(folder, resume=status == "FINISHED", **more)
        for step in steps:
            one.log(step, {"critic/rewards/mean": 0.5, "actor/skipped_updates": 0.0, "timing_s/gen": 2.0})
            one.rollouts(step, GROUPS)
            one.samples(step, GROUPS, "val")
        one.close(status)
    (folder / "summary.json").write_text("{}")
    one.attach([folder / "summary.json"])
    return folder


def test_the_page_says_what_trains_on_what_and_how_to_go_on(run_dir: Path) -> None:
    _, run = stored(run_dir)
    note = run.data.tags[NOTE]
    assert "Post-trains `tiny`, 3 steps, seed 0." in note and "`sums (data.train[0])`: 4 rows" in note
    assert "    unigrpo train --recipe tiny 'name=`run` <b>'" in note and "the same command" in note
    assert run.data.tags["recipe"] == "tiny" and run.data.tags["resumed from"].startswith("global_step_1, ")
    assert "torch" in run.data.tags["versions"] and run.data.tags["device"]
    assert run.data.params["steps"] == "3" and "learner.weight_decay" not in run.data.params
    assert run.data.params["learner.lr"] == "0.00015" and run.data.params["data.train.0.source"] == "sudoku4x4"
    assert run.inputs is not None
    (data,) = run.inputs.dataset_inputs
    assert json.loads(str(data.dataset.profile)) == {"num_rows": 4} and data.dataset.digest == digest(
        group.prompt for group in GROUPS
    )


def test_there_is_one_point_a_metric_and_step_and_nothing_that_never_moved(run_dir: Path) -> None:
    client, run = stored(run_dir)
    for name in ("critic/rewards/mean", "2 reward/mean"):
        assert [point.step for point in client.get_metric_history(run.info.run_id, name)] == [1, 2, 3]
    assert "actor/skipped_updates" not in run.data.metrics
    machine = [name for name in run.data.metrics if name.startswith("system/")]
    assert any(name.endswith("/cpu_utilization_percentage") for name in machine)
    history = client.get_metric_history(run.info.run_id, machine[0])
    assert len({point.step for point in history}) == len(history) == 2


def test_there_is_one_trace_a_chosen_group_and_step_with_its_scores_as_feedback(run_dir: Path) -> None:
    client, run = stored(run_dir)
    place = {"locations": [run.info.experiment_id], "run_id": run.info.run_id}
    traces = client.search_traces(**place, max_results=100)
    names = [(each.info.tags["set"], each.info.tags["step"], each.info.tags["prompt_id"]) for each in traces]
    assert (
        len(names) == len(set(names)) == 18
    )  # two a step of training, and of each task two of an evaluation: 2 + 1 + 1
    (text,) = client.search_traces(
        **place, filter_string="feedback.format = '0' AND tags.step = '1' AND tags.set = 'val'"
    ) or [None]
    if text is None:  # the seed picks others for an evaluation
        (text,) = [each for each in traces if each.info.tags["prompt_id"] == "sums/a"][:1]
    assert {each.name for each in text.info.assessments} == {"format", "correctness", "score"}
    assert len(text.info.assessments) == 6
    assert [span.name for span in text.data.spans if span.span_type == "LLM"] == ["rollout 0", "rollout 1"]


def test_a_filter_on_a_reward_finds_what_failed_it(tmp_path: Path, empty_store: Path) -> None:
    folder = made(tmp_path / "run", empty_store)
    one = tracker(folder)
    one.rollouts(1, GROUPS[:1])
    one.rollouts(2, [text_group("good", judged(2.5, correctness=2.0, format=0.5))])
    one.close("FINISHED")
    client, run = stored(folder)
    found = client.search_traces(
        locations=[run.info.experiment_id], run_id=run.info.run_id, filter_string="feedback.format = '0'"
    )
    assert [each.info.tags["prompt_id"] for each in found] == ["sums/a"]
    above = client.search_traces(
        locations=[run.info.experiment_id], run_id=run.info.run_id, filter_string="feedback.correctness >= 2"
    )
    assert len(above) == 2


def test_tables_have_a_column_a_reward_and_the_picture_beside_its_row(run_dir: Path) -> None:
    client, run = stored(run_dir)
    first, second = table(client, run, "val_texts-000001")
    assert list(first)[:4] == ["score", "advantage", "correctness", "format"]
    assert (first["score"], first["format"], first["member"]) == (2.5, 0.5, "1 of 2") and second["status"] == "timeout"
    (looked,) = table(client, run, "val_pictures-000001")
    assert looked["picture"]["type"] == "image" and looked["response"] == "red"
    assert client.download_artifacts(run.info.run_id, looked["picture"]["filepath"])
    for name in ("texts", "pictures", "drawn"):
        followed = table(client, run, f"followed_{name}")
        steps = {(row["prompt_id"], row["step"]) for row in followed}
        assert len(followed) == len(steps) and {step for _, step in steps} == {1, 2, 3}


def test_files_of_the_run_are_artifacts_also_those_written_after_its_end(run_dir: Path) -> None:
    client, run = stored(run_dir)
    assert {"config.yaml", "summary.json"} <= {file.path for file in client.list_artifacts(run.info.run_id)}
    assert run.info.status == "FINISHED"


def test_a_run_that_fails_leaves_its_traceback(tmp_path: Path, empty_store: Path) -> None:
    folder = made(tmp_path / "run", empty_store)
    with pytest.raises(ZeroDivisionError), tracked(tracker(folder)) as one:
        one.log(1, {"reward": 1 / 0})
    client, run = stored(folder)
    text = Path(client.download_artifacts(run.info.run_id, "traceback.txt")).read_text()
    assert run.info.status == "FAILED" and "ZeroDivisionError" in text and "1 / 0" in text


def away(folder: Path) -> tuple[str, Path]:
    """An address where no store can be, and the file in the way."""
    blocked = folder / "away"
    blocked.touch()
    return f"sqlite:///{blocked}/mlflow.db", blocked


def log_three(one: Trackers) -> None:
    for step in (1, 2, 3):
        one.log(step, {"reward": step / 4})
        one.rollouts(step, GROUPS)
    one.samples(3, GROUPS, "val")


def test_what_a_store_misses_waits_on_disk_and_is_there_after_it_came_back(
    tmp_path: Path, empty_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri, blocked = away(tmp_path)
    one = tracker(tmp_path, uri=uri)
    log_three(one)
    deadline = time.monotonic() + 100
    while len(list((tmp_path / FOLDER).glob("*.json"))) < 8:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    blocked.unlink()
    blocked.mkdir()
    shutil.copyfile(empty_store, blocked / "mlflow.db")
    one.close("FINISHED")
    client = MlflowClient(uri)
    run = client.get_run(json.loads((tmp_path / RUN_FILE).read_text())["run_id"])
    assert [point.step for point in client.get_metric_history(run.info.run_id, "reward")] == [1, 2, 3]
    traces = client.search_traces(locations=[run.info.experiment_id], run_id=run.info.run_id)
    assert len(traces) == 10 and run.info.status == "FINISHED" and not (tmp_path / FOLDER).exists()
    assert "refused" not in caplog.text


def test_a_store_that_is_never_there_is_told_where_the_rest_waits_and_a_replay_writes_it(
    tmp_path: Path, empty_store: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, blocked = away(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    rows = [{"source": "sudoku4x4"}]
    settings = {
        "name": "run",
        "output_dir": str(tmp_path),
        "tracking": {"uri": uri},
        "data": {"train": rows, "val": rows},
    }
    (folder / "config.yaml").write_text(json.dumps(settings))
    one = tracker(folder, uri=uri)
    log_three(one)
    with caplog.at_level(logging.WARNING):
        one.close("KILLED")
    assert f"it waits in {folder / FOLDER}" in caplog.text
    blocked.unlink()
    blocked.mkdir()
    shutil.copyfile(empty_store, blocked / "mlflow.db")
    assert replay(folder) == 0 and "run KILLED" in capsys.readouterr().out
    client = MlflowClient(uri)
    run = client.get_run(json.loads((folder / RUN_FILE).read_text())["run_id"])
    assert [point.step for point in client.get_metric_history(run.info.run_id, "reward")] == [1, 2, 3]
    assert run.info.status == "KILLED" and NOTE in run.data.tags
    assert len(client.search_traces(locations=[run.info.experiment_id], run_id=run.info.run_id)) == 10
    assert not (folder / FOLDER).exists()


def test_the_page_links_to_the_runs_own_pages_among_its_artifacts(run_dir: Path) -> None:
    _, run = stored(run_dir)
    place = f"(#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts"
    assert all(f"{place}/{page}?" in run.data.tags[NOTE] for page in ("gallery", "playback", "report.html"))

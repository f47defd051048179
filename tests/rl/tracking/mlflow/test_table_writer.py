"""Tables as MLflow's own reader and page find them, also after another process wrote the first rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from rl.tracking.mlflow.events import Table
from rl.tracking.mlflow.table_writer import LONGEST_TAG, TAG, TableWriter

PNG = b"\x89PNG of a picture"


@pytest.fixture
def place(tmp_path: Path, empty_store: Path) -> tuple[MlflowClient, str]:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("tables", artifact_location=(tmp_path / "files").as_uri())
    return client, client.create_run(experiment).info.run_id


def evaluated(step: int, *answers: str) -> Table:
    rows = [{"prompt_id": f"p{n}", "step": step, "response": text} for n, text in enumerate(answers)]
    return Table(step, "texts", rows, follows=True)


def test_mlflow_reads_what_was_written(
    tmp_path: Path, place: tuple[MlflowClient, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, run_id = place
    monkeypatch.setattr(utils, "_tracking_uri", f"sqlite:///{tmp_path}/mlflow.db")  # its reader looks there
    rows = [
        {"score": 0.5, "picture": {"picture": "a/1"}, "response": "准确 \u2028 é"},
        {"score": None, "picture": {"picture": "b"}},
    ]
    TableWriter(client, run_id).write(Table(3, "val_pictures", rows, {"a/1": PNG, "b": PNG}), "val_pictures-000003")
    path = "samples/val_pictures-000003.json"
    frame = client.load_table(client.get_run(run_id).info.experiment_id, path, [run_id])
    assert list(frame.columns) == ["score", "picture", "response"] and frame["response"][0] == rows[0]["response"]
    for cell in frame["picture"]:
        assert Path(client.download_artifacts(run_id, cell["filepath"])).read_bytes() == PNG
    assert json.loads(client.get_run(run_id).data.tags[TAG]) == [{"path": path, "type": "table"}]


def test_rows_that_are_followed_join_those_of_an_earlier_process(place: tuple[MlflowClient, str]) -> None:
    client, run_id = place
    for writer, steps in ((TableWriter(client, run_id), (0, 4)), (TableWriter(client, run_id), (8,))):
        for step in steps:
            writer.write(evaluated(step, "a", "b"), "not used")
    more = Table(12, "texts", [{"prompt_id": "p0", "step": 12, "status": "ok"}], follows=True)
    TableWriter(client, run_id).write(more, "not used")
    content = json.loads(Path(client.download_artifacts(run_id, "samples/followed_texts.json")).read_text())
    assert content["columns"] == ["prompt_id", "step", "response", "status"]
    assert [row[1] for row in content["data"]] == [0, 0, 4, 4, 8, 8, 12]
    assert content["data"][0] == ["p0", 0, "a", None] and content["data"][-1] == ["p0", 12, None, "ok"]


def test_the_list_of_tables_has_an_end_and_keeps_those_that_are_followed(place: tuple[MlflowClient, str]) -> None:
    client, run_id = place
    client.set_tag(
        run_id,
        TAG,
        json.dumps([{"path": "samples/followed_texts.json", "type": "table"}]
                   + [{"path": f"samples/train_texts-{step:06d}.json", "type": "table"} for step in range(80)]),
    )  # fmt: skip
    for step in (80, 81):
        name = f"train_texts-{step:06d}"
        TableWriter(client, run_id).write(Table(step, "train_texts", [{"score": 1}]), name)
    tag = client.get_run(run_id).data.tags[TAG]
    listed = [each["path"] for each in json.loads(tag)]
    assert len(tag) <= LONGEST_TAG and listed[0] == "samples/followed_texts.json"
    assert listed[-1] == "samples/train_texts-000081.json" and listed[1] > "samples/train_texts-000000.json"

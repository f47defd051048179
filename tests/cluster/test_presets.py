"""Presets in a run: held out stays held out, the hub's commit is kept, and a local copy goes along with a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.jobs.shipping import Shipping, collect
from cluster.plan.plan import Assumed, samplers
from cluster.run import inputs
from cluster.run.hub import pinned, recorded
from rl.config import Config, build_config
from rl.errors import ConfigError
from rl.types import Task
from tests.loopback_hub import point_at, serving
from tests.rl.data.test_presets import write


def config_of(**data: Any) -> Config:
    return build_config([("test", {"data": data})])


@pytest.mark.parametrize("name", ["math500", "humaneval", "geneval", "hpsv2"])
def test_held_out_rows_are_not_trained_on(name: str, tmp_path: Path) -> None:
    config = config_of(train=[{"source": name, "path": str(write(tmp_path, name))}])
    with pytest.raises(
        ConfigError, match=rf"data.train\[0\]: source {name} has held-out rows alone; list it under data.val"
    ):
        inputs.load(config, needs_train=True, needs_val=False, notes=[])


def test_rows_of_a_preset_are_a_runs_rows(tmp_path: Path) -> None:
    folder = str(write(tmp_path, "gsm8k"))
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": "1 + 1?", "answer": "#### 2"}) + "\n")
    sources = {
        "train": [{"source": "gsm8k", "path": folder}],
        "val": [{"source": "gsm8k", "path": folder, "split": "val"}],
    }
    train, val = inputs.load(config_of(**sources), needs_train=True, needs_val=True, notes=[])
    assert [prompt.id for prompt in train.prompts] == ["gsm8k/train-00000-of-00001/0", "gsm8k/train-00000-of-00001/1"]
    assert [prompt.reference for prompt in val.prompts] == ["2"] and val.prompts[0].source == "gsm8k"


def test_a_plan_knows_what_a_preset_asks_for() -> None:
    config = config_of(train=[{"source": "imagereward-prompts", "path": "x"}, {"source": "clevr"}, {"source": "gsm8k"}])
    assert {each.task for each in samplers(config, Assumed())} == {Task.DRAW, Task.UNDERSTAND, Task.TEXT}


def test_a_run_keeps_the_commit_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as hub:
        point_at(monkeypatch, hub.url, tmp_path)
        commit = hub.add("datasets", "openai/gsm8k", {"train.jsonl": b"{}"})
        config = pinned(config_of(train=[{"source": "gsm8k"}], val=[{"source": "sudoku4x4"}]))
    assert config.data.train[0].source == "gsm8k" and config.data.train[0].revision == commit
    assert recorded(config) == {"data.train[0].source": f"openai/gsm8k@{commit}"}


def test_a_local_copy_goes_along_with_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "copy", "imagereward-prompts")
    file = "copy/data/refl_data.json"
    sources = [{"source": "imagereward-prompts", "path": file}, {"source": "imagereward-prompts", "path": "copy"}]
    shipment = collect(config_of(train=sources), Shipping())
    for source in shipment.config.data.train:
        assert source.source == "imagereward-prompts" and source.path is not None and source.path in shipment.files
    assert not shipment.renamed
    with pytest.raises(ConfigError, match=r"data.train\[0\].path=gone: no such file or folder here"):
        collect(config_of(train=[{"source": "gsm8k", "path": "gone"}]), Shipping())


def test_the_hubs_rows_and_generators_send_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipment = collect(config_of(train=[{"source": "gsm8k"}, {"source": "sudoku4x4"}]), Shipping())
    assert not shipment.files and [source.source for source in shipment.config.data.train] == ["gsm8k", "sudoku4x4"]

"""``auto``: the device and dtype that a run has, shown, stored, and never over what was said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.learner.one_rank import make_learner
from cluster.plan.layout import nodes_for
from cluster.run.settings import load, on_gpu, overruled
from rl.config import Config, PolicyConfig, load_config
from rl.config.device import is_open, resolved
from rl.errors import ConfigError
from tests.cluster.recipe import write_recipe
from tests.toys import toy_folder

CASES = [
    (("auto", "auto"), False, ("cpu", "float32")),
    (("auto", "auto"), True, ("cuda", "bfloat16")),
    (("cpu", "auto"), True, ("cpu", "float32")),
    (("cuda:1", "auto"), False, ("cuda:1", "bfloat16")),
    (("auto", "float32"), True, ("cuda", "float32")),
    (("auto", "bfloat16"), False, ("cpu", "bfloat16")),
    (("cuda", "float32"), False, ("cuda", "float32")),
]


@pytest.mark.parametrize(("said", "gpu", "means"), CASES)
def test_what_auto_stands_for(said: tuple[str, str], gpu: bool, means: tuple[str, str]) -> None:
    config = resolved(Config(policy=PolicyConfig(device=said[0], dtype=said[1])), gpu)
    assert (config.policy.device, config.policy.dtype) == means and not is_open(config)


def test_auto_is_the_default_and_is_kept_until_the_run_is_where_it_runs() -> None:
    assert load_config("tiny").policy == PolicyConfig(path="tiny", device="auto", dtype="auto")
    with pytest.raises(ConfigError, match="policy.dtype='half': allowed: auto, float32, bfloat16"):
        load_config("tiny", ["policy.dtype=half"])


@pytest.mark.parametrize("gpu", [False, True])
def test_a_run_has_what_its_machine_has(monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    config, notes = load("tiny", [])
    assert config.policy.device == ("cuda" if gpu else "cpu")
    assert notes == [
        "device    cuda, bfloat16 (the machine has a GPU)" if gpu else "device    cpu, float32 (the machine has no GPU)"
    ]
    config, notes = load("tiny", ["policy.device=cpu", "policy.dtype=float32"])
    assert notes == [] and config.policy == PolicyConfig("tiny", device="cpu", dtype="float32")
    assert on_gpu("tiny", []).policy.dtype == "bfloat16"


def test_what_a_gpu_forbids_is_found_once_there_is_one() -> None:
    config = load_config("tiny", ["cluster.take_turns=true", "cluster.placement=disaggregated"])
    assert resolved(config, gpu=False).policy.device == "cpu"
    with pytest.raises(ConfigError, match="set cluster.placement=colocated"):
        resolved(config, gpu=True)


def test_a_learner_of_an_unresolved_config_is_on_this_machine() -> None:
    learner = make_learner(load_config("tiny", [f"policy.path={toy_folder()}", "learner.engine=torch"]))
    weight = next(learner.policy.module.parameters())
    assert (weight.device.type, weight.dtype) == ("cpu", torch.float32)


def test_nodes_with_gpus_make_auto_a_gpu() -> None:
    config = load_config("tiny")
    assert nodes_for(config, gpus_per_node=8, cpus_per_node=64).gpus == 8
    assert nodes_for(config, gpus_per_node=0, cpus_per_node=64).gpus == 0


def test_what_is_resolved_is_shown_and_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REWARD_KEY", "x")
    path = write_recipe(tmp_path, val_before_train=False, val_after_train=False, steps=1)
    result = CliRunner().invoke(app, ["train", "--recipe", str(path), "cluster.mode=inline"], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert "device    cpu, float32 (the machine has no GPU)" in result.stdout and result.stderr == ""
    stored = load_config(tmp_path / "runs" / "toy" / "config.yaml")
    assert (stored.policy.device, stored.policy.dtype) == ("cpu", "float32")
    assert json.loads((tmp_path / "runs" / "toy" / "summary.json").read_text())["steps"] == 1


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        (["steps=2", "steps=3"], ["not used: steps=2: steps=3 stands behind it"]),
        (["steps=2", "steps=2"], []),
        (["steps=2", "steps=3", "steps=2"], ["not used: steps=3: steps=2 stands behind it"]),
        (["steps=2", "seed=3"], []),
        (["rewards.mix={text: {format: 1}}", "rewards.mix.text.sudoku=1"], []),
        (
            ["rewards.mix.text.sudoku=1", "rewards.mix={text: {format: 1}}"],
            ["not used: rewards.mix.text.sudoku=1: rewards.mix={text: {format: 1}} stands behind it"],
        ),
        (["rollout.text={steps: 8}", "rollout.text.temperature=1"], []),
    ],
)
def test_a_setting_that_is_typed_twice_is_said(typed: list[str], lines: list[str]) -> None:
    assert overruled(typed) == lines

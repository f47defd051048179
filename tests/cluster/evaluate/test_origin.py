"""An evaluation and a comparison stand beside the run that trained the policy, and each names the other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner, Result

from cluster.cli.app import app
from cluster.evaluate.origin import beside, origin_of
from cluster.run.checkpoint import with_policy
from rl.config import Config, load_config
from tests.cluster.recipe import write_recipe

RUN_ID, EXPERIMENT = "a" * 32, "7"


def training_run(folder: Path, command: str = "train", **tracking: object) -> Path:
    """The folder of a run, as far as an evaluation looks at it."""
    run = folder / "runs" / "trained"
    for step in (1, 2):
        (run / "checkpoints" / f"global_step_{step}" / "policy").mkdir(parents=True)
    (run / "policy").mkdir()
    (run / "config.yaml").write_text(json.dumps({"policy": {"path": "tiny"}, "tracking": tracking}))
    (run / "command").write_text(f"{command}\n")
    (run / "mlflow_run.json").write_text(json.dumps({"run_id": RUN_ID, "experiment_id": EXPERIMENT}))
    (run / "summary.json").write_text(json.dumps({"command": command, "steps": 2}))
    return run


def config_of(policy: Path | str, output: Path | str = "runs", lora: str | None = None) -> Config:
    config = Config(name="e", output_dir=str(output))
    learner = replace(config.learner, lora=replace(config.learner.lora, path=lora))
    return replace(config, policy=replace(config.policy, path=str(policy)), learner=learner)


@pytest.mark.parametrize(
    ("policy", "step"),
    [
        ("policy", 2),
        ("checkpoints/global_step_1", 1),
        ("checkpoints/global_step_1/policy", 1),
        ("checkpoints/global_step_2/policy", 2),
    ],
)
def test_the_run_is_found_by_its_policys_folder(tmp_path: Path, policy: str, step: int) -> None:
    run = training_run(tmp_path)
    found = origin_of(config_of(run / policy), config_of(run / policy))
    assert found is not None and found.tags() == {"trained_by": RUN_ID, "trained_by_name": "trained", "step": str(step)}


def test_an_adapter_is_of_its_run(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    adapter = run / "checkpoints" / "global_step_1" / "adapter"
    adapter.mkdir()
    found = origin_of(config_of(run), config_of("tiny", lora=str(adapter)))
    assert found is not None and found.step == 1


@pytest.mark.parametrize("change", ["eval", "no run", "torn", "elsewhere"])
def test_a_policy_of_no_run_has_none(tmp_path: Path, change: str) -> None:
    run = training_run(tmp_path, "eval" if change == "eval" else "train")
    if change == "no run":
        (run / "mlflow_run.json").unlink()
    if change == "torn":
        (run / "mlflow_run.json").write_text('{"run_id": "../../x", "experiment_id": "7"}')
    policy = run / "policy"
    if change == "elsewhere":
        policy = tmp_path / "copied"
        policy.mkdir()
    assert origin_of(config_of(policy), config_of(policy)) is None
    assert origin_of(config_of("tiny"), config_of("tiny")) is None


def test_the_store_and_experiment_are_the_runs_unless_others_are_given(tmp_path: Path) -> None:
    run = training_run(tmp_path, experiment="mine")
    config = config_of(run / "policy", tmp_path / "elsewhere")
    origin = origin_of(config, config)
    found = beside(config, origin, []).tracking
    assert found.experiment == "mine" and found.uri == f"sqlite:///{tmp_path}/runs/mlflow.db"
    same = config_of(run / "policy", tmp_path / "runs")
    assert beside(same, origin, []).tracking.uri is None
    typed = beside(config, origin, ["tracking.uri=null", "tracking.experiment=unigrpo"])
    assert typed.tracking == config.tracking
    other = replace(config, tracking=replace(config.tracking, experiment="other", uri="http://h:1"))
    assert beside(other, origin, []).tracking == other.tracking
    assert beside(config, None, []) == config


def test_a_server_and_its_password_are_taken_over_together(tmp_path: Path) -> None:
    run = training_run(tmp_path, uri="postgresql://me@db/x", password_env="DB_PASSWORD")
    config = config_of(run / "policy")
    found = beside(config, origin_of(config, config), []).tracking
    assert (found.uri, found.password_env) == ("postgresql://me@db/x", "DB_PASSWORD")


def unigrpo(*words: object) -> Result:
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.long
def test_a_trained_policy_its_evaluations_and_their_comparison(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole commands, in a real store."""
    monkeypatch.setenv("REWARD_KEY", "x")
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(
        tmp_path, output_dir=str(tmp_path / "runs"), save_freq=1, test_freq=1, best_metric="val/text/score",
        cluster={"mode": "inline"}, tracking={"experiment": "mine", "registered_model": "toy", "machine_s": 0},
    )  # fmt: skip
    (tmp_path / "runs").mkdir()
    shutil.copyfile(empty_store, tmp_path / "runs" / "mlflow.db")
    assert "toy, version 1" in unigrpo("train", "--recipe", recipe).output
    unigrpo("train", "--recipe", recipe)
    run, plain = tmp_path / "runs" / "toy", ["tracking.experiment=mine", "tracking.registered_model=null"]
    unigrpo("eval", "--recipe", recipe, f"policy.path={run}", "name=last", *plain)
    first = run / "checkpoints" / "global_step_1"
    unigrpo("eval", "--recipe", recipe, f"policy.path={first}", "name=one", f"output_dir={tmp_path / 'other'}", *plain)
    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("mine")
    assert experiment is not None

    def runs() -> dict[str, str]:
        return {str(each.info.run_name): each.info.run_id for each in client.search_runs([experiment.experiment_id])}

    assert set(runs()) == {"toy", "last", "one"}
    trained = client.get_run(runs()["toy"])
    for name, step in (("last", "2"), ("one", "1")):
        tags = client.get_run(runs()[name]).data.tags
        assert (tags["trained_by"], tags["step"], tags["trained_by_name"]) == (runs()["toy"], step, "toy")
        assert trained.data.tags[f"evaluation {name}"].endswith(f"run {runs()[name]}")
    models = {each.tags["step"]: each.model_id for each in client.search_logged_models([experiment.experiment_id])}
    inputs = client.get_run(runs()["last"]).inputs
    assert inputs is not None and [each.model_id for each in inputs.model_inputs] == [models["2"]]
    for _ in range(2):
        said = unigrpo("compare", tmp_path / "other" / "one", tmp_path / "runs" / "last").output
    assert set(runs()) == {"toy", "last", "one", "one vs last"} and runs()["one vs last"] in said
    compared = client.get_run(runs()["one vs last"])
    assert compared.data.tags["trained_by_a"] == compared.data.tags["trained_by_b"] == runs()["toy"]
    folders = tmp_path / "other" / "one", tmp_path / "runs" / "last"
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    difference = summaries[1]["tasks"]["text"]["after"] - summaries[0]["tasks"]["text"]["after"]
    assert compared.data.metrics["compare/text/difference"] == pytest.approx(difference)
    assert "comparison one vs last" in client.get_run(runs()["toy"]).data.tags
    told = json.loads(unigrpo("compare", *folders, "--json", "--no-mlflow").stdout)
    assert told["tasks"]["text"]["difference"] == pytest.approx(difference)
    assert with_policy(load_config(run / "config.yaml")).policy.path

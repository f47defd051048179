"""A run's models are in the store once, whatever interrupts it, and cost a run nothing but a line where the store fails."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from cluster.model import __main__ as command
from cluster.model import log
from cluster.model.chosen import chosen
from cluster.model.log import RECORD, log_models
from policies import load_policy
from rl.config import Config, build_config
from rl.config.checks import validate
from rl.errors import ConfigError
from rl.tracking.mlflow.client import known_run, open_client
from rl.tracking.mlflow_address import check_model
from tests.cluster.model.finished import finished_run, uri_of
from tests.toys import toy_folder
from tests.wide import wide


def models(config: Config) -> list[Any]:
    """Of the run, whole or not, the oldest first."""
    known = known_run(config.run_dir)
    assert known is not None
    found = MlflowClient(uri_of(config)).search_logged_models([known.experiment_id])
    return sorted(
        (each for each in found if each.source_run_id == known.run_id), key=lambda each: each.creation_timestamp
    )


def versions(config: Config) -> dict[str, tuple[str, str]]:
    """version -> (step, roles) under the registered name."""
    found = MlflowClient(uri_of(config)).search_model_versions(f"name='{config.tracking.registered_model}'")
    return {str(each.version): (each.tags["step"], each.tags["roles"]) for each in found}


def logged(config: Config) -> list[str]:
    lines: list[str] = []
    assert log_models(config, lines.append), lines
    return lines


def refused(config: Config) -> list[str]:
    """The lines of a run whose models were not all logged; the last says what to do."""
    lines: list[str] = []
    assert not log_models(config, lines.append)
    assert all(len(line.splitlines()) == 1 for line in lines)
    assert lines[-1].endswith(f"python -m cluster.model {config.run_dir}")
    return lines


def test_the_best_and_the_final_policy_are_logged_once(tmp_path: Path, empty_store: Path) -> None:
    config = finished_run(tmp_path, empty_store, toy_folder(), {1: 0.6, 2: 0.5})
    lines = logged(config)
    assert ["best policy (step 1)" in lines[0], "final policy (step 2)" in lines[1]] == [True, True]
    assert versions(config) == {"1": ("1", "best"), "2": ("2", "final")}
    client = MlflowClient(uri_of(config))
    assert client.get_registered_model("toy").aliases == {"best": 1}
    known = known_run(config.run_dir)
    assert known is not None
    outputs = client.get_run(known.run_id).outputs
    assert outputs is not None
    assert sorted((each.model_id, each.step) for each in outputs.model_outputs) == sorted(
        (each.model_id, int(each.tags["step"])) for each in models(config)
    )
    assert logged(config) == []  # the folder knows
    (config.run_dir / RECORD).unlink()
    logged(config)  # the store knows
    assert len(models(config)) == 2 and len(versions(config)) == 2
    mlflow.set_tracking_uri(uri_of(config))
    assert mlflow.pyfunc.get_model_dependencies("models:/toy/latest", format="pip")
    assert client.get_model_version_by_alias("toy", "best").tags["val/text/score"] == "0.6"


@pytest.mark.parametrize(
    ("asked", "scores", "expected"),
    [
        ("both", {1: 0.5, 2: 0.6}, [(("final", "best"), 2)]),
        ("both", {1: 0.6, 2: 0.5}, [(("best",), 1), (("final",), 2)]),
        ("final", {1: 0.6, 2: 0.5}, [(("final",), 2)]),
        ("best", {1: 0.6, 2: 0.5}, [(("best",), 1)]),
        ("best", {1: 0.5, 2: 0.6}, [(("best",), 2)]),
        ("off", {1: 0.6, 2: 0.5}, []),
    ],
)
def test_which_policies_are_chosen(tmp_path: Path, asked: str, scores: dict[int, float], expected: list[Any]) -> None:
    config = finished_run(tmp_path, None, toy_folder(), scores, registered_model=None, log_model=asked)
    assert [(one.roles, one.step) for one in chosen(config)] == expected


CALLS = [
    "create_logged_model", "log_model_artifacts", "finalize_logged_model", "log_outputs", "create_registered_model",
    "create_model_version", "set_registered_model_alias",
]  # fmt: skip
SHORT = [("log_model_artifacts", True), ("create_model_version", True)]
ALL = [
    pytest.param(call, after, marks=() if (call, after) in SHORT else pytest.mark.long)
    for call in CALLS
    for after in (False, True)
]


@pytest.mark.parametrize(("call", "after"), ALL)
def test_a_process_that_ends_at_any_call_leaves_nothing_twice(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, call: str, after: bool
) -> None:
    """``SystemExit`` in the thread that writes is as sudden as a kill: nothing after it is done."""
    config = finished_run(tmp_path, empty_store, toy_folder(), {2: 0.5})
    real = getattr(MlflowClient, call)

    def dies(*arguments: Any, **more: Any) -> None:
        if after:
            real(*arguments, **more)
        raise SystemExit

    monkeypatch.setattr(log, "PATIENCE_S", 30.0)
    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, call, dies)
        refused(config)
    assert not (config.run_dir / RECORD).exists()
    logged(config)
    (one,) = models(config)
    assert one.status == "READY" and versions(config) == {"1": ("2", "final, best")}
    client = MlflowClient(uri_of(config))
    assert client.get_registered_model("toy").aliases == {"best": 1}
    outputs = client.get_run(one.source_run_id).outputs
    assert outputs is not None and [each.model_id for each in outputs.model_outputs] == [one.model_id]


@pytest.mark.parametrize(
    ("mode", "scores", "holder"),
    [
        ("max", [0.4, 0.6, 0.5], 2),
        pytest.param("min", [0.4, 0.3, 0.5], 2, marks=pytest.mark.long),
        pytest.param("max", [0.4, 0.4], 2, marks=pytest.mark.long),
    ],
)
def test_the_alias_best_moves_to_the_better_run_alone(
    tmp_path: Path, empty_store: Path, mode: str, scores: list[float], holder: int
) -> None:
    for index, score in enumerate(scores):
        config = finished_run(tmp_path, empty_store, toy_folder(), {1: score}, name=f"run{index}")
        logged(replace(config, best_mode=mode))
    client = MlflowClient(uri_of(config))
    assert client.get_registered_model("toy").aliases == {"best": holder}
    assert client.get_latest_versions("toy")[0].version == len(scores)  # models:/toy/latest


def test_another_metric_takes_the_alias(tmp_path: Path, empty_store: Path) -> None:
    logged(finished_run(tmp_path, empty_store, toy_folder(), {1: 0.9}, name="first"))
    second = finished_run(tmp_path, empty_store, toy_folder(), {1: 0.1}, name="second")
    lines = (second.run_dir / "metrics.jsonl").read_text().replace("val/text/score", "val/draw/score")
    (second.run_dir / "metrics.jsonl").write_text(lines)
    ratings = second.run_dir / "checkpoints" / "ratings.json"
    ratings.write_text(ratings.read_text().replace("val/text/score", "val/draw/score"))
    logged(replace(second, best_metric="val/draw/score"))
    assert MlflowClient(uri_of(second)).get_registered_model("toy").aliases == {"best": 2}


def test_weights_that_are_written_again_leave_the_model_as_it_was(tmp_path: Path, empty_store: Path) -> None:
    """Links share their bytes: a run that goes on must not change what it logged before."""
    config = finished_run(tmp_path, empty_store, toy_folder(), {1: 0.5}, registered_model=None)
    logged(config)
    (model,) = tmp_path.glob("mlartifacts/models/*/artifacts/artifacts/policy")
    before = {file: file.read_bytes() for file in model.rglob("*.safetensors")}
    policy = load_policy(toy_folder())
    with torch.no_grad():
        for parameter in policy.module.parameters():
            parameter.add_(1.0)
    policy.save(config.run_dir / "policy")
    assert (config.run_dir / "policy" / "model.safetensors").read_bytes() not in before.values()
    assert {file: file.read_bytes() for file in model.rglob("*.safetensors")} == before and len(before) == 2


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second disk")
def test_another_disk_is_a_copy_which_has_a_limit(tmp_path: Path, empty_store: Path) -> None:
    if os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second disk")
    store = tmp_path / "store" / "mlflow.db"
    store.parent.mkdir()
    shutil.copyfile(empty_store, store)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        config = finished_run(
            Path(place), empty_store, toy_folder(), {1: 0.5}, uri=f"sqlite:///{store}", log_model_gb=1e-6
        )
        assert "tracking.log_model_gb=1e-06 allows less" in refused(config)[0] and not models(config)
        logged(replace(config, tracking=replace(config.tracking, log_model_gb=4.0)))
        (model,) = store.parent.glob("mlartifacts/models/*/artifacts")
        source = config.run_dir / "policy" / "model.safetensors"
        assert (model / "artifacts" / "policy" / "model.safetensors").read_bytes() == source.read_bytes()


def run_deleted(config: Config, patch: pytest.MonkeyPatch) -> Config:
    (config.run_dir / "mlflow_run.json").write_text(json.dumps({"run_id": "f" * 32, "experiment_id": "999"}))
    return config


def never_there(config: Config, patch: pytest.MonkeyPatch) -> Config:
    (config.run_dir / "mlflow_run.json").unlink()
    return config


def torn_run_file(config: Config, patch: pytest.MonkeyPatch) -> Config:
    (config.run_dir / "mlflow_run.json").write_text('{"run_id": ')
    return config


def store_is_garbage(config: Config, patch: pytest.MonkeyPatch) -> Config:
    (Path(config.output_dir) / "mlflow.db").write_bytes(b"not a database" * 999)
    return config


def server_away(config: Config, patch: pytest.MonkeyPatch) -> Config:
    patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return replace(config, tracking=replace(config.tracking, uri="http://127.0.0.1:1"))


def no_weights(config: Config, patch: pytest.MonkeyPatch) -> Config:
    for file in (config.run_dir / "policy").rglob("*.safetensors"):
        file.unlink()
    return config


def no_password(config: Config, patch: pytest.MonkeyPatch) -> Config:
    patch.delenv("STORE_PASSWORD", raising=False)
    tracking = replace(config.tracking, uri="postgresql://me@127.0.0.1:1/x", password_env="STORE_PASSWORD")
    return replace(config, tracking=tracking)


def full_disk(config: Config, patch: pytest.MonkeyPatch) -> Config:
    patch.setattr(MlflowClient, "log_model_artifacts", _no_space)
    return config


def too_slow(config: Config, patch: pytest.MonkeyPatch) -> Config:
    import time

    patch.setattr(log, "PATIENCE_S", 0.1)
    patch.setattr(MlflowClient, "search_logged_models", lambda *_, **__: time.sleep(2))
    return config


def _no_space(*arguments: Any, **more: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (run_deleted, "999"),
        (never_there, "no run of this folder has reached MLflow"),
        (torn_run_file, "no run of this folder has reached MLflow"),
        (store_is_garbage, "file is not a database"),
        (server_away, "127.0.0.1"),
        (no_weights, "no .safetensors file in it"),
        (no_password, "STORE_PASSWORD"),
        (full_disk, "No space left on device"),
        (too_slow, "no answer within"),
    ],
)
def test_what_goes_wrong_is_a_line_and_the_run_stays_whole(
    tmp_path: Path,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    breaks: Callable[[Config, pytest.MonkeyPatch], Config],
    said: str,
) -> None:
    config = breaks(finished_run(tmp_path, empty_store, toy_folder(), {1: 0.5}), monkeypatch)
    lines = refused(config)
    assert len(lines) == 2 and "not logged: " in lines[0] and said in lines[0], lines


@pytest.mark.parametrize("registry", ["http://127.0.0.1:1", pytest.param("nonsense://x", marks=pytest.mark.long)])
def test_a_registry_that_is_away_costs_the_name_alone(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, registry: str
) -> None:
    config = finished_run(tmp_path, empty_store, toy_folder(), {1: 0.5})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_REGISTRY_URI", registry)
        lines = refused(config)
    assert (
        "models:/m-" in lines[0] and "tracking.registered_model=toy: not registered: " in lines[1] and len(lines) == 3
    )
    assert command.main([str(config.run_dir)]) == 0  # once it is there again
    assert versions(config) == {"1": ("1", "final, best")} and len(models(config)) == 1


def test_a_store_in_plain_files(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow takes such a folder only when it is told to; whatever it cannot do there is one line."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    config = finished_run(tmp_path, empty_store, toy_folder(), {1: 0.5}, uri=(tmp_path / "mlruns").as_uri())
    lines: list[str] = []
    log_models(config, lines.append)
    assert lines and all(len(line.splitlines()) == 1 for line in lines)
    assert "models:/m-" in lines[0] or "not logged: " in lines[0]


@pytest.mark.parametrize("folder", wide(["a%20b#?", "a b", "größe"], 3))
def test_any_name_of_the_folder_and_a_move(tmp_path: Path, empty_store: Path, folder: str) -> None:
    config = finished_run(tmp_path / folder, empty_store, toy_folder(), {1: 0.5})
    logged(config)
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    moved = replace(config, output_dir=str(tmp_path / "moved"))
    (tmp_path / folder).rename(tmp_path / "moved")
    client = open_client(moved.run_dir, None, None)
    version = client.get_model_version_by_alias("toy", "best")
    found = Path(download_artifacts(version.source, dst_path=str(tmp_path / "out")))
    assert (found / "MLmodel").is_file() and (found / "artifacts" / "policy" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "a:b", "x" * 257, " a", "a ", "..", "a\nb", "models:/x", "a'b", "a%b"]
)
def test_a_name_that_is_not_allowed_is_found_before_anything_starts(name: str) -> None:
    with pytest.raises(ConfigError, match="tracking.registered_model=") as caught:
        build_config([("test", {"policy": {"path": "tiny"}, "tracking": {"registered_model": name}})], [])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["toy", "a", "My model-1.0_b", "catalog.schema.model", "größe", "准确率", "x" * 256])
def test_a_name_that_we_allow_is_one_of_mlflows(name: str) -> None:
    from mlflow.utils.validation import _validate_model_name

    check_model(name, "both")
    _validate_model_name(name)


@pytest.mark.parametrize(
    ("tracking", "said"),
    [
        ({"log_model": "some"}, "tracking.log_model"),
        ({"log_model": "best"}, "needs best_metric"),
        ({"log_model_gb": -1.0}, "tracking.log_model_gb"),
        ({"log_model": "off", "registered_model": "toy"}, "nothing to register"),
    ],
)
def test_settings_that_contradict_each_other(tracking: dict[str, Any], said: str) -> None:
    config = build_config([("test", {"policy": {"path": "tiny"}})], [])
    with pytest.raises(ConfigError, match=said):
        validate(replace(config, tracking=replace(config.tracking, **tracking)))


def test_the_command_wants_a_run_that_has_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: no run that has ended")

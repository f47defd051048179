"""Runs that have ended, without their training: the folder, the run in MLflow, checkpoints and the last policy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from policies import load_policy
from policies.files.copies import copy_policy
from rl.checkpoints.folder import FolderCheckpoints
from rl.config import Config, build_config, to_yaml
from rl.tracking.mlflow_address import store_uri
from rl.tracking.trackers import JsonlTracker, MlflowTracker

TEXT = {"max_new_tokens": 36, "block_length": 18, "steps": 4, "temperature": 1.0}
LOOK = {"max_new_tokens": 8, "block_length": 4, "steps": 2, "temperature": 1.0}


class Weights:
    """Implements ``Restorable`` with a policy alone."""

    def __init__(self, source: Path) -> None:
        self._policy = load_policy(source)

    def save(self, folder: Path) -> None:
        self._policy.save(folder / "policy")

    def load(self, folder: Path) -> None:
        raise NotImplementedError


def finished_run(
    output: Path, store: Path | None, source: Path, scores: Mapping[int, float], name: str = "run", **tracking: object
) -> Config:
    """A run whose held-out scores are those, by step; the last one is its end. store: the file of an empty one; None for a
    run that MLflow never saw."""
    settings = {
        "output_dir": str(output),
        "name": name,
        "policy": {"path": str(source), "device": "cpu", "dtype": "float32"},
        "evaluation": {"text": TEXT, "understand": LOOK, "draw": {"steps": 1, "guidance": 0.3}},
        "best_metric": "val/text/score",
        "save_freq": 1,
        "test_freq": 1,
        "keep_checkpoints": 9,
        "steps": max(scores),
        "tracking": {"registered_model": "toy", **tracking},
    }
    config = build_config([("test", settings)], [])
    config.run_dir.mkdir(parents=True)
    if store is not None and not (output / "mlflow.db").exists():
        shutil.copyfile(store, output / "mlflow.db")
    (config.run_dir / "config.yaml").write_text(to_yaml(config))
    (config.run_dir / "command").write_text("train\n")
    trackers: list[JsonlTracker | MlflowTracker] = [JsonlTracker(config.run_dir)]
    if store is not None:
        trackers.append(MlflowTracker(config.run_dir, name=name, uri=config.tracking.uri))
    saved, weights = FolderCheckpoints(config), Weights(source)
    for step, score in scores.items():
        saved.save(step, weights, {"data": {}, "weight_version": step})
        saved.rate(step, {"val/text/score": score})
        for tracker in trackers:
            tracker.log(step, {"val/text/score": score})
    for tracker in trackers:
        tracker.close("FINISHED")
    copy_policy(source, config.run_dir / "policy")
    (config.run_dir / "summary.json").write_text(json.dumps({"command": "train", "steps": max(scores), "tasks": {}}))
    return config


def uri_of(config: Config) -> str:
    return config.tracking.uri or store_uri(config.run_dir)

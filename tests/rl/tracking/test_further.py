"""Trackers beside MLflow, by name: a package's own is one function, and a missing package is one line before a run starts."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from cluster.run.folder import check_run, open_run
from rl.config import build_config
from rl.errors import ConfigError
from rl.tracking.further import TRACKERS
from rl.tracking.mlflow.page import About
from tests.rl.examples import Recorder


class Kept(Recorder):
    made: list[tuple[Path, float, Kept]] = []

    def __init__(self, run_dir: Path, keep_until: float) -> None:
        super().__init__()
        Kept.made.append((run_dir, keep_until, self))


def test_a_further_tracker_hears_what_the_others_hear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRACKERS._targets, "kept", Kept)
    config = build_config([], [f"output_dir={tmp_path}", "tracking.mlflow=false", "tracking.also=[kept]"])
    Kept.made.clear()
    tracker = open_run(config, About(config, "train"), Console(file=io.StringIO()), 2)
    for step in range(1, 3):
        tracker.log(step, {"actor/kl_loss": 0.5 * step, "actor/skipped_updates": 0.0})
    tracker.close("FINISHED")
    ((run_dir, keep_until, kept),) = Kept.made
    assert run_dir == config.run_dir and keep_until == -1 and kept.ended == ["FINISHED"]
    assert kept.logged[2] == {
        "actor/kl_loss": 1.0, "actor/skipped_updates": 0.0, "health/skipped_updates": 0.0, "health_value/skipped_updates": 0.0,
    }  # fmt: skip


def test_an_unknown_one_is_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"tracking.also='tensorbord': allowed: tensorboard.*; did you mean 'tensorboard'\?"
    ):
        build_config([], ["tracking.also=[tensorbord]"])


def test_a_package_that_is_not_there_is_told_before_the_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not this machine has TensorBoard: its module is made to be missing."""
    for name in ("tensorboard", "torch.utils.tensorboard", "torch.utils.tensorboard.writer"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "rl.tracking.tensorboard", raising=False)
    monkeypatch.setattr(TRACKERS, "_found", {})
    config = build_config([], [f"output_dir={tmp_path}/runs", "tracking.mlflow=false", "tracking.also=[tensorboard]"])
    with pytest.raises(
        ConfigError, match=r"^tracking.also=\[tensorboard\]: the package tensorboard is not installed; install"
    ):
        check_run(config, "train")
    assert not (tmp_path / "runs").exists()

"""One run a folder, at a time."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from cluster.run.folder import already_finished, lock_folder, open_run
from rl.checkpoints.ratings import Ratings
from rl.config import Config, to_yaml
from rl.errors import ConfigError
from rl.tracking import report
from rl.tracking.mlflow.page import About
from rl.tracking.mlflow.spool import InHand
from tests.cluster.runs import make_config

HOLD = """
import sys
from pathlib import Path
from cluster.run.folder import lock_folder
lock_folder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_one_runs_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=rf"process {other.pid} on .* works in it; wait for it, or .*name=NAME"):
            lock_folder(tmp_path)
        other.kill()
    lock_folder(tmp_path)
    lock_folder(tmp_path)  # its own: a run evaluates in the folder that it trains in


def finished(folder: Path, steps: int = 2) -> Config:
    """A run that did all its steps, as its folder tells."""
    config = make_config(folder, f"steps={steps}")
    config.run_dir.mkdir(parents=True)
    (config.run_dir / "config.yaml").write_text(to_yaml(config))
    summary = report.summarise(config, {}, {"val/text/score": 1.0}, seconds=1.0, steps=steps, weights_digest="")
    report.write_summary(config.run_dir, {"command": "train", **summary})
    return config


def said(config: Config) -> str:
    screen = Console(file=io.StringIO(), width=200)
    assert already_finished(config, screen)
    return screen.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(("steps", "told"), [(1, "finished its 1 step before"), (2, "finished its 2 steps before")])
def test_a_finished_run_says_that_it_is(tmp_path: Path, steps: int, told: str) -> None:
    assert told in said(finished(tmp_path, steps))


OTHER = {
    "seed=7": "seed=7 (it had 0)",
    "learner.lr=0.5": "learner.lr=0.5 (it had 0.001)",
    "rewards.mix.text.format=1": "rewards.mix.text.format=1.0 (it had None)",
    "rollout.batch_size=5": "rollout.batch_size=5 (it had 3)",
    "evaluation.text.temperature=1": "evaluation.text.temperature=1.0 (it had 0.0)",
    "learner.algorithm.mu=3": "learner.algorithm.mu=3 (it had 2)",
    "tracking.experiment=x": "tracking.experiment='x'",
}


@pytest.mark.parametrize("override", OTHER)
def test_a_finished_run_with_other_settings_is_one_line(tmp_path: Path, override: str) -> None:
    finished(tmp_path)
    with pytest.raises(ConfigError) as caught:
        said(make_config(tmp_path, override))
    line = str(caught.value)
    assert OTHER[override] in line and "finished its 2 steps with other settings" in line and "\n" not in line
    assert "name=NEW" in line and "resume_mode=disable" in line and "steps=N" in line


def test_many_other_settings_are_counted_and_some_change_nothing(tmp_path: Path) -> None:
    config = finished(tmp_path)
    with pytest.raises(ConfigError, match="and 2 more; give"):
        said(make_config(tmp_path, *list(OTHER)[:6]))
    assert "finished" in said(dataclasses.replace(config, steps=1))
    assert not already_finished(dataclasses.replace(config, steps=3, seed=9), Console(file=io.StringIO()))
    assert not already_finished(dataclasses.replace(config, resume_mode="disable", seed=9), Console(file=io.StringIO()))
    (config.run_dir / "config.yaml").write_text("a setting of another version: 5")
    assert "finished" in said(config)


@pytest.mark.parametrize(
    ("saved", "cut_off", "mode", "rated"),
    [
        ([2, 4], [4], "auto", [0, 2]),  # the run goes on from 4, and evaluates it again
        ([2, 4], [2], "auto", [0, 2, 4]),  # the weights of 2 are gone
        ([2, 4], [], "auto", [0, 2, 4]),
        ([], [0], "auto", [0, 2, 4]),  # a fresh start: resuming forgets them itself
        ([2, 4], [4], "disable", [0, 2, 4]),
    ],
)
def test_an_evaluation_that_a_kill_kept_from_mlflow_is_made_again(
    tmp_path: Path, saved: list[int], cut_off: list[int], mode: str, rated: list[int]
) -> None:
    config = make_config(tmp_path, "tracking.mlflow=true", f"resume_mode={mode}")
    folder = config.run_dir / "checkpoints"
    for step in saved:
        (folder / f"global_step_{step}").mkdir(parents=True)
        (folder / f"global_step_{step}" / "manifest.json").touch()
    folder.mkdir(parents=True, exist_ok=True)
    for step in (0, 2, 4):
        Ratings(folder).add(step, {"val/text/score": 0.5})
    for step in cut_off:
        InHand(config.run_dir, keep=True).begin(step)
    open_run(config, About(config, "train"), Console(file=io.StringIO()), 6)
    assert sorted(Ratings(folder).read()) == rated

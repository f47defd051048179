"""Health on real runs of the toy policy: which rules fire, what the run says, and that no bit of training is another."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cluster.run.folder import open_run
from cluster.run.session import session
from cluster.weights.digest import sha256
from rl.checkpoints.folder import FolderCheckpoints
from rl.config import Config, SourceConfig
from rl.data.stream import PromptStream
from rl.errors import TrainingError
from rl.health.watch import Watch, summarise
from rl.loop import Parts, train
from rl.tracking.metrics_file import read_metrics
from rl.tracking.mlflow.page import About
from rl.tracking.trackers import tracked
from tests.cluster.runs import HELD_OUT, MAKERS, make_config


def run(config: Config) -> tuple[str, str]:
    """One process; the digest of the final weights, and what the terminal showed."""
    screen = Console(file=io.StringIO(), width=300)
    rows = [[make(index) for index in range(4)] for make in MAKERS]
    stream = PromptStream([SourceConfig(make.__name__) for make in MAKERS], config.seed, rows)
    with tracked(open_run(config, About(config, "train"), screen, config.steps)) as tracker, session(config) as parts:
        saved = FolderCheckpoints(config)
        train(Parts(config, stream, HELD_OUT, parts.workers, parts.learner, tracker, saved))
        digest = sha256(parts.learner.weights())
    return digest, screen.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def config_of(home: Path, name: str, *overrides: str) -> Config:
    return make_config(
        home, f"name={name}", "learner.engine=torch", "rollout.batch_size=2", "val_after_train=false", *overrides
    )


def fired(config: Config) -> dict:
    return summarise(Watch.of(config.health, read_metrics(config.run_dir)))["sick"]


def test_training_has_the_same_bits_with_health_and_without(home: Path) -> None:
    on, off = config_of(home, "health-on", "steps=3"), config_of(home, "health-off", "steps=3", "health.on=false")
    assert run(on)[0] == run(off)[0]
    names = {name for point in read_metrics(off.run_dir) for name in point.metrics}
    assert not any(name.startswith("health") for name in names)
    logged = {name for point in read_metrics(on.run_dir) for name in point.metrics}
    assert {name for name in logged if not name.startswith("health")} == names
    assert {"health/first_ratio", "health/skipped_updates", "health/kl", "health_value/kl"} <= logged


def test_a_constant_reward_is_told_once(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "same.py"
    file.write_text("def reward(completions, **columns):\n    return [1.0] * len(completions)\n")
    sick = config_of(
        home, "health-same", "steps=6", "val_before_train=false", "learner.drop_equal_groups=true",
        f"custom_reward_function.path={file}",
    )  # fmt: skip
    with pytest.raises(TrainingError, match="none of the 6 steps changed the weights"):
        run(sick)
    assert {"dead_groups", "skipped_updates"} <= fired(sick).keys()
    log = (sick.run_dir / "log").read_text()
    assert log.count("health: dead_groups is 1, above 0.7: most groups teach nothing") == 1
    assert log.count("health: skipped_updates is 0.2, above 0.1: ") == 1


def test_three_held_out_prompts_and_greedy_rollouts_and_a_resumed_run(home: Path) -> None:
    """Stopped after 4 steps and gone on with: the states are those of the whole file, and nothing is said again."""
    sampling = "{max_new_tokens: 8, block_length: 4, steps: 4, temperature: 0}"
    greedy = [f"rollout.{task}={sampling}" for task in ("text", "understand")]
    first = config_of(home, "health-greedy", "steps=4", "save_freq=2", *greedy)
    _, shown = run(first)
    assert shown.count("step 0  health: wide_interval (") == 1
    assert not fired(first).keys() & {"identical_rollouts", "first_ratio", "staleness", "restarts"}
    later = replace(first, steps=8)
    _, again = run(later)
    assert "health: wide_interval" not in again and again.count("health: identical_rollouts (") == 1
    whole = fired(later)
    assert whole["identical_rollouts"]["at_end"] and whole["wide_interval"]["first_step"] == 0
    points = read_metrics(later.run_dir)
    told = {point.step: point.metrics.get("health/identical_rollouts") for point in points}
    assert told[whole["identical_rollouts"]["first_step"]] == 1.0

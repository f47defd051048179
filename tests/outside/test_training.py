"""An estimator, an objective, a mask schedule and a task from a package: one file and one line each, in a run that trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.outside.package import code_of, make_package, run_with

CODE = '''
from rl.masking import Schedule
from rl.objectives.objective import Objective
from rl.types import LossOutput, Message, Prompt, Task


def signed(terms, config):
    """The advantage's sign times the mean log-likelihood."""
    mean = (terms.logp * terms.mask).sum(1) / terms.mask.sum(1).clamp(min=1)
    loss = -(terms.advantages.sign() * mean * terms.weights).sum()
    return LossOutput(loss, {"actor/pg_loss": loss.detach()})


SIGNED = Objective(signed)


HALF = Schedule(lambda mu, total, start, generator: [total // 2] * mu)


def generate(split, *, size=8):
    first = {"train": 0, "val": 1000}[split]
    return [
        Prompt(f"copy/{n}", Task.TEXT, (Message("user", f"sudoku {n}"),), reference=str(n), source="copy")
        for n in range(first, first + size)
    ]
'''

GROUPS = {
    "unigrpo.estimators": "thirds = brought:THIRDS",
    "unigrpo.objectives": "signed = brought:SIGNED",
    "unigrpo.schedules": "half = brought:HALF",
    "unigrpo.tasks": "copy = brought:generate",
}

CHOICES = {"estimator": "thirds", "objective": "signed", "schedule": "half"}
REWARD = "def reward(prompts, completions, **columns): return [float(len(set(text))) for text in completions]\n"

RECIPE = """
name: outside
steps: 2
policy: {path: tiny}
data: {train: [{source: copy}], val: [{source: copy, split: val, args: {size: 2}}]}
rollout: {batch_size: 2, n_samples_per_prompt: 4, text: {max_new_tokens: 8, block_length: 8, steps: 4}}
evaluation: {text: {max_new_tokens: 8, block_length: 8, steps: 4}}
rewards: {mix: {text: {custom: 1.0}}}
custom_reward_function: {path: variety.py}
learner: {engine: torch, threads: 1, lr: 1.0e-3, algorithm: {mu: 1, kl_coef: 0.0}}
cluster: {mode: inline}
tracking: {mlflow: false}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    make_package(folder, "brought", code_of("Add an estimator") + CODE, GROUPS)
    (folder / "outside.yaml").write_text(RECIPE)
    (folder / "variety.py").write_text(REWARD)
    return folder


def digest_after(folder: Path, name: str, *overrides: str) -> str:
    run_with(folder, "-m", "cluster.cli", "train", "--recipe", "outside.yaml", f"name={name}", *overrides)
    return json.loads((folder / "runs" / name / "summary.json").read_text())["weights_digest"]


@pytest.fixture(scope="module")
def default(folder: Path) -> str:
    return digest_after(folder, "default")


@pytest.mark.long
@pytest.mark.parametrize(("setting", "value"), CHOICES.items())
def test_a_choice_from_outside_trains(folder: Path, default: str, setting: str, value: str) -> None:
    """On a task from outside: weights move otherwise than with the default choice."""
    assert digest_after(folder, value, f"learner.algorithm.{setting}={value}") != default


def test_all_choices_from_outside_train_together(folder: Path, default: str) -> None:
    """Other weights than the default's, and the config that was stored has the choices."""
    overrides = [f"learner.algorithm.{setting}={value}" for setting, value in CHOICES.items()]
    assert digest_after(folder, "all", *overrides) != default
    stored = (folder / "runs" / "all" / "config.yaml").read_text()
    assert all(f"{setting}: {value}\n" in stored for setting, value in CHOICES.items())


def test_a_name_that_is_wrong_is_told_with_those_that_were_brought(folder: Path) -> None:
    code = """
from rl.config import load_config
try:
    load_config("tiny", ["learner.algorithm.estimator=third"])
except ValueError as error:
    print(error)
"""
    said = run_with(folder, "-c", code).stdout
    assert "learner.algorithm.estimator='third': allowed: masked" in said and "did you mean 'thirds'?" in said

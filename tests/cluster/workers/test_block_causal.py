"""A block-causal policy from its folder to trained weights, in one process, by the command that a user types."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from cluster.cli.app import app
from tests.policies.originals import write_folder

REWARD = """
def reward(completions, **columns):
    return [float(len(set(text))) for text in completions]
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("block_causal")
    (folder / "reward.py").write_text(REWARD)
    sources = {}
    for split, first in (("train", 0), ("val", 50)):
        rows = [
            {"id": f"{split}{i}", "prompt": f"{i} + {first} =", "solution": f"<think>{i}</think>{i}"} for i in range(6)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources[split] = [{"source": str(folder / f"{split}.jsonl"), "task": "text"}]
    mix, text = {"text": {"custom": 1.0}}, {"max_new_tokens": 16, "block_length": 4, "steps": 8}
    settings = {
        "name": "run",
        "output_dir": str(folder / "runs"),
        "steps": 2,
        "policy": {"path": str(write_folder("sdar", folder / "sdar"))},
        "data": sources,
        "rollout": {"batch_size": 2, "n_samples_per_prompt": 3, "text": text},
        "evaluation": {"text": text, "mix": mix},
        "rewards": {"mix": mix},
        "custom_reward_function": {"path": str(folder / "reward.py")},
        "learner": {"engine": "torch", "lr": 1e-3, "algorithm": {"mu": 2}, "threads": 1},
        "sft": {"steps": 3, "batch_size": 4, "warmup_steps": 1, "threads": 1},
        "cluster": {"mode": "inline"},
        "tracking": {"mlflow": False},
    }
    (folder / "recipe.yaml").write_text(json.dumps(settings))
    return folder / "recipe.yaml"


@pytest.mark.parametrize("command", ["sft", "train"])
def test_it_learns(recipe: Path, command: str) -> None:
    """The run itself checks that ratios are 1 at first: likelihood and sampler share one arithmetic."""
    result = CliRunner().invoke(app, [command, "--recipe", str(recipe), f"name={command}"])
    assert result.exit_code == 0, result.output
    before = load_file(recipe.parent / "sdar" / "model.safetensors")
    after = load_file(recipe.parent / "runs" / command / "policy" / "model.safetensors")
    assert before.keys() == after.keys()
    assert any(np.abs(before[key] - after[key]).max() > 1e-4 for key in before)


def test_it_answers(recipe: Path) -> None:
    result = CliRunner().invoke(app, ["generate", "3 + 4 =", "--recipe", str(recipe), "--n", "2"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rollout.text.block_length=2", "rollout.text: block_length=2, max_new_tokens=16: must be multiples of 4"),
        ("evaluation.text.cache=dual", "evaluation.text: cache=dual:"),
    ],
)
def test_settings_that_do_not_fit_its_blocks_are_told_at_once(recipe: Path, override: str, message: str) -> None:
    result = CliRunner().invoke(app, ["train", "--recipe", str(recipe), override])
    assert result.exit_code == 2 and message in " ".join(result.output.split())


def test_its_prompt_cannot_be_hidden(recipe: Path) -> None:
    """Its prompt lies in blocks that it sees as they were written: the setting would do nothing."""
    override = "learner.algorithm.prompt_mask_prob=0.15"
    result = CliRunner().invoke(app, ["train", "--recipe", str(recipe), "name=hidden", override])
    assert result.exit_code == 2
    assert "prompt_mask_prob=0.15" in result.output and "leave it at 0" in " ".join(result.output.split())

"""think_draw from data file to trained weights, in one process, by the command that a user types."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from cluster.cli.app import app
from tests.toys import toy_folder

REWARD = """
def reward(completions, images, **columns):
    assert all(image.shape == (32, 32, 3) for image in images)
    return [len(set(text)) + float(image.mean()) / 25 for text, image in zip(completions, images, strict=True)]
"""
CAPTIONS = ["a red circle", "a blue square", "what is the colour? red", "a square"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("think_draw")
    (folder / "reward.py").write_text(REWARD)
    rng = np.random.default_rng(0)
    sources = {}
    for split, prefix in (("train", ""), ("val", "paint ")):
        rows = [
            {
                "id": f"{split}{index}",
                "caption": prefix + caption,
                "task": "think_draw",
                "solution": f"<think>{caption}</think>",
                "image": _picture(folder / f"{split}{index}.png", rng),
            }
            for index, caption in enumerate(CAPTIONS)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources[split] = [{"source": str(folder / f"{split}.jsonl")}]
    mix = {"think_draw": {"custom": 1.0, "format": 0.5}}
    sampling = {"think": {"max_new_tokens": 8, "block_length": 4, "steps": 4}, "draw": {"steps": 2}}
    path = folder / "recipe.yaml"
    path.write_text(
        json.dumps(
            {
                "name": "run",
                "output_dir": str(folder / "runs"),
                "steps": 2,
                "policy": {"path": str(toy_folder())},
                "data": sources,
                "rollout": {"batch_size": 2, "n_samples_per_prompt": 3, "think_draw": sampling},
                "evaluation": {"think_draw": sampling, "mix": mix},
                "rewards": {"mix": mix},
                "custom_reward_function": {"path": str(folder / "reward.py")},
                "learner": {"engine": "torch", "lr": 1e-3, "algorithm": {"mu": 2}, "threads": 1},
                "sft": {"steps": 3, "batch_size": 4, "warmup_steps": 1, "threads": 1},
                "cluster": {"mode": "inline"},
                "tracking": {"mlflow": False},
            }
        )
    )
    return path


def _picture(path: Path, rng: np.random.Generator) -> str:
    from PIL import Image

    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return str(path)


@pytest.mark.parametrize("command", ["train", "sft"])
def test_a_run_scores_both_spans_and_moves_the_weights(recipe: Path, command: str) -> None:
    result = CliRunner().invoke(app, [command, "--recipe", str(recipe), f"name={command}"])
    assert result.exit_code == 0, result.stdout + result.stderr
    run = recipe.parent / "runs" / command
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["tasks"]) == {"think_draw"}
    assert all(np.isfinite(value) for value in summary["tasks"]["think_draw"].values() if isinstance(value, float))
    before, after = (load_file(folder / "model.safetensors") for folder in (toy_folder(), run / "policy"))
    head = next(name for name in before if name.endswith("transformer.ff_out.weight"))
    moved = np.abs(before[head] - after[head]).max(axis=1) > 0
    offset = json.loads((toy_folder() / "config.json").read_text())["llm_vocab_size"]
    assert moved[:offset].any() and moved[offset:].any(), "rows of words and rows of image codes"


def test_it_is_refused_before_anything_starts_where_it_cannot_fit(recipe: Path) -> None:
    override = "rollout.think_draw.think.max_new_tokens=1024"
    steps = "rollout.think_draw.think.steps=1024"
    result = CliRunner().invoke(app, ["train", "--recipe", str(recipe), "name=long", override, steps])
    assert result.exit_code == 2
    assert "rollout.think_draw.think.max_new_tokens=1024: must leave room for a prompt" in result.stderr
    assert not (recipe.parent / "runs" / "long").exists()

"""Every recipe runs two steps and an evaluation on a small random model of its checkpoint's layout, template and tokens."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli.app import app
from rl.config import load_config, recipe_names
from tests.cluster.recipes.models import MMADA, small_model
from tests.cluster.recipes.rows import data_overrides

MODELS = {  # how a recipe's name begins -> whose layout its policy has
    "llada-8b": "LLaDA-8B-Instruct",
    "mmada-8b": MMADA,
    "dream-7b": "Dream-v0-Instruct-7B",
    "diffucoder-7b": "Dream-v0-Instruct-7B",
    "sdar-1.7b": "SDAR-1.7B-Chat",
    "trado-4b": "SDAR-8B-Chat",
    "llada2-mini": "LLaDA2.0-mini",
}
OURS = [name for name in recipe_names() if not name.startswith("tiny")]
QUICK = ("llada-8b-gsm8k-lora", "mmada-8b-mixed", "trado-4b-gsm8k")
ALONE = (
    "cluster.mode=inline", "cluster.address=null", "cluster.learner_ranks=1", "cluster.rollout_workers=1",
    "cluster.reward_workers=1", "cluster.placement=auto", "cluster.take_turns=false", "learner.engine=torch",
    "learner.threads=1", "learner.mini_batch_size=null", "tracking.mlflow=false", "steps=2", "sft.steps=2",
    "sft.batch_size=2", "sft.threads=1", "rollout.batch_size=2", "rollout.n_samples_per_prompt=2", "best_metric=null",
    "test_freq=0", "save_freq=0", "val_before_train=false", "rewards.settings.clip={model: tiny}",
)  # fmt: skip


def model_of(recipe: str) -> str:
    return next(model for start, model in MODELS.items() if recipe.startswith(f"{start}-"))


@cache
def policy_of(root: Path, model: str) -> Path:
    return small_model(model, root / "policies" / model)


def overrides(recipe: str, root: Path) -> list[str]:
    """The recipe at a size that a test can afford. What it says of the algorithm, data, rewards and adapter stays."""
    config = load_config(recipe)
    block = 32 if recipe.startswith("llada2") else 4
    shape = f"{{max_new_tokens: {2 * block}, block_length: {block}, steps: 8}}"
    small = [f"{part}.{task}={shape}" for part in ("rollout", "evaluation") for task in ("text", "understand")]
    small += ["rollout.draw.steps=2", "evaluation.draw.steps=2"]
    small += ["learner.lora.rank=8"] if config.learner.lora.on else []  # the width of these models is 32
    for part in ("rewards", "evaluation"):
        if "imagereward" in getattr(config, part).mix.get("draw", {}):  # whose weights no package brings
            small.append(f"{part}.mix.draw={{clip: 0.1}}")
    if config.rewards.settings.get("imagereward"):
        small.append("rewards.settings={clip: {model: tiny}}")
    kept = [word for word in ALONE if not word.startswith("rewards.") or "clip" in config.rewards.settings]
    policy = policy_of(root, model_of(recipe))
    return [*kept, *small, f"policy.path={policy}", f"output_dir={root}/runs", *data_overrides(config, root / "data")]


def command_of(recipe: str) -> str:
    return "sft" if recipe.endswith("-sft") else "train"


@pytest.mark.parametrize(
    "recipe", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in OURS]
)
def test_a_recipe_runs_two_steps_and_an_evaluation(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.getbasetemp() / "recipes"
    result = CliRunner().invoke(app, [command_of(recipe), "--recipe", recipe, *overrides(recipe, root)])
    assert result.exit_code == 0, result.output
    summary = json.loads((root / "runs" / recipe / "summary.json").read_text())
    assert summary["steps"] == 2
    assert {task for task, scores in summary["tasks"].items() if scores["after"] is not None} == tasks_of(recipe)
    lines = (root / "runs" / recipe / "metrics.jsonl").read_text().splitlines()
    assert any("actor/grad_norm" in line or "sft/" in line for line in lines)


def tasks_of(recipe: str) -> set[str]:
    if not recipe.startswith("mmada-8b-"):
        return {"text"}
    task = recipe.removeprefix("mmada-8b-").removesuffix("-lora").removesuffix("-64")
    return {"mixed": {"text", "understand", "draw"}, "sft": {"text"}}.get(task, {task})


def test_every_recipe_of_a_family_has_a_model_here() -> None:
    assert {model_of(name) for name in OURS} <= set(MODELS.values())
    assert set(QUICK) <= set(OURS)

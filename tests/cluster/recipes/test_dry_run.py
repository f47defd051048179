"""Every recipe passes ``--dry-run`` on its checkpoint at the published size, and has a plan that fits the GPUs it names."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli.app import app
from rl.config import load_config, recipe_names
from tests.cluster.recipes.models import sparse_layout
from tests.cluster.recipes.rows import data_overrides
from tests.cluster.recipes.test_run import OURS, command_of, model_of

QUICK = ("llada-8b-gsm8k", "sdar-1.7b-math-tracerl")


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes an 8B run, which a machine that tests need not have."""
    monkeypatch.setattr("cluster.run.disk.free_bytes", lambda folder: 1 << 50)


@cache
def layout_of(root: Path, model: str) -> Path:
    return sparse_layout(model, root / "layouts" / model)


def given(recipe: str, root: Path) -> list[str]:
    config = load_config(recipe)
    words = [f"policy.path={layout_of(root, model_of(recipe))}", f"output_dir={root}/runs", "cluster.address=null"]
    if config.rewards.settings.get("imagereward"):  # whose weights are not here
        words += ["rewards.settings={clip: {model: tiny}}"]
        words += [f"{part}.mix.draw={{clip: 0.1}}" for part in ("rewards", "evaluation")]
    return [*words, *data_overrides(config, root / "data")]


@pytest.mark.parametrize(
    "recipe", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in OURS]
)
def test_a_dry_run_finds_no_mistake(recipe: str, tmp_path_factory: pytest.TempPathFactory, roomy: None) -> None:
    root = tmp_path_factory.getbasetemp() / "dry"
    words = [command_of(recipe), "--dry-run", "--recipe", recipe, *given(recipe, root)]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "Every check passed. Nothing was started." in result.stdout
    if recipe in QUICK[:1]:
        assert "defaults  from the card of family llada" in result.stdout
    if command_of(recipe) == "train":
        assert "GB a learner rank" in result.stdout


def gpus_of(recipe: str) -> int:
    config = load_config(recipe)
    return config.cluster.learner_ranks


def gpu_of(recipe: str) -> str:
    """All weights of 16B take H200s: the next ones arrive in float32 beside those in use."""
    return "h200" if recipe.startswith("llada2-mini") and not recipe.endswith("-lora") else "h100"


def planned(recipe: str, root: Path) -> dict:
    words = ["plan", "--json", "--recipe", recipe, *given(recipe, root)]
    words = [word for word in words if not word.startswith("data.")]
    result = CliRunner().invoke(app, [*words, f"gpus={gpus_of(recipe)}", f"gpu={gpu_of(recipe)}"])
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


SHORT = ("llada-8b-gsm8k", "llada-8b-math-tracerl", "sdar-1.7b-math-tracerl")


@pytest.mark.parametrize(
    "recipe",
    [
        name if name.startswith(SHORT) else pytest.param(name, marks=pytest.mark.long)
        for name in OURS
        if not name.endswith("-sft")
    ],
)
def test_a_recipe_fits_the_gpus_that_it_names(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    plan = planned(recipe, tmp_path_factory.getbasetemp() / "dry")
    assert plan["fits"], {name: sum(parts.values()) / 1e9 for name, parts in plan["memory"].items()}
    assert plan["placement"] == "colocated"


def test_names_are_flat_and_say_family_size_and_task() -> None:
    for name in recipe_names():
        assert "/" not in name and name == name.lower()
        assert name.startswith("tiny") or len(name.split("-")) >= 3, name

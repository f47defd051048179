"""A policy's folder, whole and broken in many ways: one red line with its remedy, what needs it skipped, never a traceback."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.cli.doctor import case_of, config_of
from cluster.doctor.case import Case
from cluster.doctor.check import Result, State, examine
from cluster.doctor.registry import POLICY
from cluster.doctor.rollouts import sampling_of
from cluster.plan.family import with_family
from policies import load_policy
from policies.files.folders import find_policy
from rl.config import Config, build_config
from rl.types import Task, TextSampling, ThinkDrawSampling
from tests.cluster.doctor.broken import KINDS, Kind
from tests.cluster.recipes.models import small_model
from tests.policies.originals import CONFIGS, write_folder
from tests.toys import toy_folder
from tests.wide import wide


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_folder(), tmp_path / "policy"))


def results(folder: Path, **asked: Any) -> dict[str, Result]:
    config = build_config([("test", {"output_dir": str(asked.get("out", folder).parent / "runs")})])
    case = Case(
        **{
            "path": str(folder),
            "config": config,
            "device": "cpu",
            "dtype": "float32",
            "out": folder.parent / "out",
            **asked,
        }
    )
    return {result.name: result for result in examine(POLICY, case)}


def reds(found: dict[str, Result]) -> dict[str, str]:
    return {name: result.found for name, result in found.items() if result.state is State.RED}


def test_a_whole_folder_is_green_and_leaves_its_pictures(folder: Path) -> None:
    found = results(folder)
    assert not reds(found)
    assert found["first ratios"].data["error"] <= 1e-5 and found["gradient"].data["norm"] > 0
    assert found["update"].found.endswith("s") and "(text, understand, draw, think_draw)" in found["update"].found
    for task in ("draw", "think_draw"):
        with Image.open(folder.parent / "out" / f"{task}.png") as picture:
            assert picture.size == (32, 32)
    speed = found["speed"].data
    assert speed["tokens_per_s"] > 0 and speed["images_per_s"] > 0 and speed["trained_tokens_per_s"] > 0


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_is_green(family: str, tmp_path: Path) -> None:
    found = results(write_folder(family, tmp_path / "policy"))
    assert not reds(found)
    assert found["rollout: draw"].state is State.SKIPPED and found["speed"].state is State.OK


@pytest.mark.parametrize("kind", wide(KINDS, 3), ids=[kind.name for kind in KINDS])
def test_a_broken_folder_is_one_red_line(kind: Kind, folder: Path) -> None:
    kind.spoil(folder)
    found = results(folder, **kind.asked)
    assert found[kind.check].state is State.RED and kind.said in found[kind.check].found, reds(found)
    for result in found.values():
        assert (result.remedy != "") == (result.state is State.RED)
        assert "\n" not in result.found + result.remedy and "Traceback" not in result.found
    for check in POLICY:
        if any(found[need].state is not State.OK for need in check.needs):
            assert found[check.name].state is State.SKIPPED and found[check.name].found.startswith("needs ")
    alone = {kind.check, *kind.also}
    alone |= {name for name in found if name.startswith("rollout: ")} if kind.check.startswith("rollout") else set()
    assert set(reds(found)) <= alone


def test_the_command_says_red_and_ends_with_2(folder: Path) -> None:
    run = CliRunner().invoke
    (folder / "chat_template.jinja").write_text("Hello!")
    words = [
        "doctor",
        "--policy",
        str(folder),
        "--out",
        str(folder.parent / "out"),
        f"output_dir={folder.parent / 'runs'}",
    ]
    shown = run(app, words)
    assert shown.exit_code == 2
    assert any(
        line.startswith("RED") and "chat template" in line and "; remedy: " in line
        for line in shown.stdout.splitlines()
    )
    assert "needs chat template, which is red" in shown.stdout and "1 red" in shown.stdout
    assert "checking 5 of" in shown.stderr and "Traceback" not in shown.output
    told = run(app, [*words, "--json"])
    content = json.loads(told.stdout)
    assert told.exit_code == 2 and content["ok"] is False
    assert [each["name"] for each in content["checks"]] == [check.name for check in POLICY]


def test_device_and_dtype_are_chosen_unless_settings_say() -> None:
    config = build_config([("test", {"policy": {"dtype": "bfloat16"}})])
    chosen = case_of(config, "tiny", None, None, frozenset())
    assert (chosen.device, chosen.dtype) in (("cpu", "float32"), ("cuda", "bfloat16"))
    assert case_of(config, "tiny", None, None, {"policy.device", "policy.dtype"}).dtype == "bfloat16"
    with_recipe = CliRunner().invoke(app, ["doctor", "--policy", "tiny", "nonsense=1"])
    assert with_recipe.exit_code == 2 and with_recipe.stderr.count("\n") == 1


def of_card(folder: Path, *overrides: str, recipe: str | None = None) -> Config:
    return config_of(str(folder), recipe, [*overrides, f"output_dir={folder.parent}/runs"])


def test_the_familys_card_gives_what_nobody_says(tmp_path: Path) -> None:
    """Rollouts, the adapter's layers and a recipe's plan have the settings that a run would have."""
    folder = small_model("LLaDA-8B-Instruct", tmp_path / "policy")
    config = of_card(folder)
    run, _ = with_family("llada-8b-gsm8k", [f"policy.path={folder}"])
    assert config.rollout.text.temperature == 0.9 and config.learner.lr == 5e-7
    own = of_card(folder, "rollout.text.temperature=0.5", recipe="llada-8b-gsm8k")
    assert replace(own.rollout.text, temperature=run.rollout.text.temperature) == run.rollout.text
    assert own.learner == run.learner and own.rollout.text.temperature == 0.5
    found = results(folder, config=config)
    assert not reds(found) and found["family's card"].state is State.OK
    for words in (
        "block_length=32 steps=128 temperature=0.9",
        "learner.lr 5e-07 to 1e-06",
        "prompt: the folder's chat",
    ):
        assert words in found["family's card"].found
    changed = results(folder, config=of_card(folder, "rollout.text.temperature=0.5", "learner.lr=0.01"))[
        "family's card"
    ]
    assert "; here temperature=0.5" in changed.found
    assert "learner.lr=0.01 is far outside" in changed.found


def test_a_family_without_a_card_and_a_shipped_policy(folder: Path, tmp_path: Path) -> None:
    assert "a shipped policy" in results(find_policy("tiny"), out=tmp_path / "out")["family's card"].found


@pytest.mark.parametrize("task", [Task.TEXT, Task.UNDERSTAND, Task.THINK_DRAW])
def test_rollouts_are_sampled_as_the_run_samples(task: Task, folder: Path) -> None:
    sampled = {"temperature": 0.3, "top_k": 7, "block_length": 16, "max_new_tokens": 64, "steps": 64}
    parts = {"text": sampled, "understand": sampled, "think_draw": {"think": sampled, "draw": {"guidance": 1.5}}}
    config = build_config([("test", {"rollout": parts})])
    case = Case(str(folder), config, "cpu", "float32", folder)
    case.policy = load_policy(folder)
    sampling = sampling_of(case, task)
    text = sampling.think if isinstance(sampling, ThinkDrawSampling) else sampling
    assert isinstance(text, TextSampling) and (text.temperature, text.top_k) == (0.3, 7)
    assert text.block_length == 16 and text.max_new_tokens % 16 == 0 and text.steps <= text.max_new_tokens
    if isinstance(sampling, ThinkDrawSampling):
        assert sampling.draw.guidance == 1.5
    cold = replace(config, rollout=replace(config.rollout, **{str(task): _cold(getattr(config.rollout, str(task)))}))
    text = sampling_of(replace(case, config=cold), task)
    assert (text.think if isinstance(text, ThinkDrawSampling) else text).temperature > 0  # pyright: ignore[reportAttributeAccessIssue]


def _cold(part: Any) -> Any:
    if isinstance(part, ThinkDrawSampling):
        return replace(part, think=replace(part.think, temperature=0.0))
    return replace(part, temperature=0.0)

"""A policy's folder, whole and broken in many ways: one red line with its remedy, what needs it skipped, never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.cli.doctor import case_of
from cluster.doctor.case import Case
from cluster.doctor.check import Result, State, examine
from cluster.doctor.registry import POLICY
from rl.config import build_config
from tests.cluster.doctor.broken import KINDS, Kind
from tests.policies.originals import CONFIGS, write_folder
from tests.toys import toy_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_folder(), tmp_path / "policy"))


def results(folder: Path, **asked: Any) -> dict[str, Result]:
    config = build_config([("test", {"output_dir": str(folder.parent / "runs")})])
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


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
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

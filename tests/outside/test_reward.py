"""docs/extending.md as it stands: its code and its entry point make a package whose reward checks and trains."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.recipe import write_recipe
from tests.outside.package import ROOT, make_package, section

PAGE = section("Add a reward")


def block(language: str, number: int = 0) -> str:
    found = re.findall(rf"^   ```{language}\n(.*?)^   ```$", PAGE, re.DOTALL | re.MULTILINE)[number]
    return "".join(line[3:] + "\n" if line.strip() else "\n" for line in found.splitlines())


@pytest.fixture
def unigrpo(tmp_path: Path):
    """The command line beside an installed package that is none of ours."""
    installed = tmp_path / "site"
    installed.mkdir()
    section, line = block("toml").splitlines()
    assert section == '[project.entry-points."unigrpo.rewards"]'
    make_package(installed, "politeness", block("python"), {"unigrpo.rewards": line.replace('"', "")})

    def run(*arguments: str) -> tuple[int, str]:
        environment = {**os.environ, "PYTHONPATH": f"{installed}:{ROOT}", "COLUMNS": "200"}
        command = [sys.executable, "-m", "cluster.cli.app", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_reward_is_listed_with_its_settings(unigrpo) -> None:
    code, said = unigrpo("rewards", "list", "--verbose")
    assert code == 0
    assert (
        "politeness: 1.0 where the response holds the word often enough, else 0.0.\n  word (a text; default please)"
        in said
    )
    assert "  times (a whole number above 0; default 1): how often it must stand there" in said


def test_the_reward_is_checked_by_its_name_and_its_mistakes_are_one_line(unigrpo) -> None:
    code, said = unigrpo("rewards", "check", "politeness", "word=7")
    assert code == 2 and said == "error: reward 'politeness': word=7; allowed: a text\n"
    code, said = unigrpo("rewards", "check", "politeness", "word=think")
    assert code == 0 and "politeness.PolitenessReward, a class with score(items)" in said
    assert "6 numbers from 0 to 1" in said and "the same scores twice" in said


@pytest.mark.long
def test_a_run_trains_with_the_reward(unigrpo, tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path,
        steps=1,
        rewards={"mix": {"text": {"politeness": 1.0}}, "settings": {"politeness": {"word": "a"}}},
        evaluation={"text": {"max_new_tokens": 8, "block_length": 4, "steps": 4}, "mix": {"text": {"politeness": 1.0}}},
        cluster={"mode": "inline"},
    )
    code, said = unigrpo("train", "--recipe", str(recipe), "output_dir=runs")
    assert code == 0, said
    summary = json.loads(next((tmp_path / "runs").rglob("summary.json")).read_text())
    assert summary["steps"] == 1 and 0 <= summary["tasks"]["text"]["before"] <= 1
    metrics = "".join(path.read_text() for path in (tmp_path / "runs").rglob("*.jsonl"))
    assert "rewards/politeness/mean" in metrics
    code, said = unigrpo("train", "--recipe", str(recipe), "name=wrong", "rewards.settings.politeness.times=0")
    assert code == 2 and said.endswith("reward 'politeness': times=0; allowed: a whole number above 0\n")

"""A driver that starts a process for each stage makes the same weights as a run: only then do their seconds compare."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.speed.process_per_stage import STAGES
from cluster.cli.app import app
from rl.config import load_config
from tests.cluster.recipe import write_recipe


@pytest.mark.long
def test_it_makes_the_weights_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARD_KEY", "key")
    recipe = write_recipe(tmp_path, cluster={"mode": "inline"})
    monkeypatch.chdir(tmp_path)
    staged = tmp_path / "staged"
    staged.mkdir()
    for step, stage in itertools.product(range(2), ("sample", "score", "learn")):
        assert STAGES[stage](load_config(str(recipe), []), step, staged) > 0
    result = CliRunner().invoke(app, ["train", "--recipe", str(recipe)])
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "runs" / "toy" / "summary.json").read_text())
    assert (staged / "digest.txt").read_text() == summary["weights_digest"]

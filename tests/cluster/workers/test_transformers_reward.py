"""A run over Ray whose reward is a transformers classifier, with a module beside its file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.recipe import write_recipe
from tests.rewards.bert_reward import REWARD, make_bert

ROOT = Path(__file__).parents[3]
HELPER = "def first(values):\n    return values[:, 0].sigmoid()\n"


@pytest.mark.long
@pytest.mark.parametrize("isolate", [False, True])
def test_a_step_is_trained_with_it(isolate: bool, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "REWARD_KEY": "x"}
    make_bert(tmp_path)
    recipe = write_recipe(
        tmp_path,
        steps=1,
        cluster={"mode": "ray", "address": None, "rollout_workers": 1, "reward_workers": 1},
        custom_reward_function={"path": "my_reward.py", "isolate": isolate},
        output_dir="runs",
    )
    (tmp_path / "bert_helper.py").write_text(HELPER)
    text = REWARD.format(
        folder=str(tmp_path), imports="from transformers import CLIPModel\nfrom bert_helper import first"
    )
    (tmp_path / "my_reward.py").write_text(
        text.replace(".logits[:, 0].sigmoid()", ".logits").replace("return model", "return first(model") + ")"
    )
    command = [sys.executable, "-m", "cluster.cli.app", "train", "--recipe", str(recipe)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(next((tmp_path / "runs").rglob("summary.json")).read_text())
    assert 0 < summary["tasks"]["text"]["before"] < 1 and summary["steps"] == 1
    assert "warning" not in done.stderr

"""A trained policy leaves in its family's own format, whatever the family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.run.session import session
from cluster.weights.digest import digest
from policies import load_policy, lora
from rl.checkpoints.folder import FolderCheckpoints
from rl.config import Config, LearnerConfig
from rl.learner.engine import TorchEngine
from rl.learner.update import UniGRPOLearner
from tests.cluster.runs import make_config
from tests.cluster.runs import run as loop_run
from tests.policies.originals import CONFIGS, write_folder

IDS = torch.arange(20, 32)[None]


def checkpoints_of(folder: Path, source: Path, *scores: float) -> tuple[FolderCheckpoints, list[torch.Tensor]]:
    """A run that learned one step of AdamW before each checkpoint; the logits that each had."""
    policy = load_policy(source)
    settings = LearnerConfig(lr=1e-2)
    learner = UniGRPOLearner(policy, TorchEngine(policy.module, settings, 10), settings)
    target, logits = FolderCheckpoints(Config(name="run", output_dir=str(folder), keep_checkpoints=9)), []
    for step, score in enumerate(scores, start=1):
        learner.engine.backward(policy.logits(IDS).square().mean())
        learner.engine.step()
        target.save(step, learner, {"data": {}, "weight_version": step, "before": {}})
        target.rate(step, {"val/text/score": score})
        logits.append(policy.logits(IDS).detach())
    return target, logits


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_tuned_weights_of_every_family_have_the_original_names(tmp_path: Path, name: str) -> None:
    original = write_folder(name, tmp_path / "original")
    _, logits = checkpoints_of(tmp_path, original, 0.5)
    said = run(tmp_path / "run", "--out", tmp_path / "out")
    assert CONFIGS[name]["model_type"] in said and "global_step_1 (weights 1)" in said
    before, after = (load_file(folder / "model.safetensors") for folder in (original, tmp_path / "out"))
    assert {key: value.shape for key, value in after.items()} == {key: value.shape for key, value in before.items()}
    assert any(not torch.equal(after[key], before[key]) for key in before)
    torch.testing.assert_close(load_policy(tmp_path / "out").logits(IDS), logits[-1], rtol=0, atol=0)
    files = {file.name for file in original.iterdir()}
    assert files <= {file.name for file in (tmp_path / "out").iterdir()}


def test_the_newest_the_best_and_one_by_its_folder(tmp_path: Path) -> None:
    original = write_folder("llada", tmp_path / "original")
    target, logits = checkpoints_of(tmp_path, original, 0.2, 0.9, 0.4)
    ways = {
        "newest": ((tmp_path / "run",), 2),
        "best": ((tmp_path / "run", "--best", "val/text/score"), 1),
        "worst": ((tmp_path / "run", "--best", "val/text/score", "--mode", "min"), 0),
        "second": ((target.folder / "global_step_2",), 1),
    }
    for out, (arguments, index) in ways.items():
        run(*arguments, "--out", tmp_path / out)
        assert torch.equal(load_policy(tmp_path / out).logits(IDS), logits[index])
    run(target.folder / "global_step_3", "--out", tmp_path / "half", "--dtype", "bfloat16")
    assert {value.dtype for value in load_file(tmp_path / "half" / "model.safetensors").values()} == {torch.bfloat16}


def test_what_is_wrong_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    target, logits = checkpoints_of(tmp_path, write_folder("llada", tmp_path / "original"), 0.2, 0.9)
    newest = target.folder / "global_step_2"
    (newest / "optimizer.json").unlink()
    mistakes = {
        "no such folder: ": (tmp_path / "run", "--out", tmp_path / "no" / "out"),
        "is there already": (tmp_path / "run", "--out", tmp_path),
        "allowed: max, min": (tmp_path / "run", "--out", tmp_path / "out", "--mode", "most"),
        "optimizer.json is missing": (newest, "--out", tmp_path / "out"),
        "measured were: val/text/score": (tmp_path / "run", "--out", tmp_path / "out", "--best", "val/txt"),
        "no run, checkpoint or policy": (tmp_path, "--out", tmp_path / "out"),
    }
    for text, arguments in mistakes.items():
        result = CliRunner().invoke(app, ["export", *map(str, arguments)])
        assert result.exit_code == 2 and text in result.output, result.output
        assert len(result.output.strip().splitlines()) == 1
    assert not list(tmp_path.glob("*out*"))
    said = run(tmp_path / "run", "--out", tmp_path / "out")
    assert f"passed over {newest}: optimizer.json is missing" in said
    assert torch.equal(load_policy(tmp_path / "out").logits(IDS), logits[0])


def test_a_run_of_an_adapter_exports_merged_or_alone(tmp_path: Path) -> None:
    """A whole run in this process with DeepSpeed: what was sampled with last is what is exported."""
    target = make_config(tmp_path, "learner.lora.rank=2", "save_freq=1", "steps=2", "learner.zero_stage=1")
    with session(target) as parts:
        result, recorder = loop_run(target, parts.workers, parts.learner)
    assert recorder.logged[1]["actor/first_ratio_error"] < 1e-5
    run(target.run_dir, "--out", tmp_path / "merged")
    policy, base = load_policy(tmp_path / "merged"), load_policy(target.policy.path)
    state = {name: value.numpy() for name, value in policy.module.state_dict().items()}
    assert digest(state) == result.weights.digest
    assert not torch.equal(policy.logits(IDS), base.logits(IDS))
    said = run(target.run_dir, "--out", tmp_path / "alone", "--adapter")
    assert "adapter, from" in said
    lora.load_adapter(base, tmp_path / "alone")
    torch.testing.assert_close(base.logits(IDS), policy.logits(IDS), rtol=0, atol=1e-5)
    again = make_config(tmp_path, "name=again", "steps=1", f"learner.lora.path={tmp_path / 'alone'}")
    with session(again) as parts:
        started = parts.learner.weights()
    assert all((value == state[name]).all() for name, value in started.items())

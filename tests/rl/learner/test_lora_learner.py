"""Training an adapter: the base stays, is the reference, and rollout workers get merged weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from policies import lora
from rl.config.lora import LoraConfig
from rl.errors import CheckpointError
from rl.learner.engine import TorchEngine
from rl.learner.reference import BaseReference
from rl.learner.update import UniGRPOLearner
from tests.rl.learner.test_update import SETTINGS, assert_same_weights, make_batch
from tests.toys import toy_policy

CONFIG = replace(SETTINGS, lora=LoraConfig(rank=4, alpha=8.0))


def make_learner(scale: float = 1.0) -> UniGRPOLearner:
    policy = toy_policy(scale=scale)
    lora.attach(policy, CONFIG.lora.rank, CONFIG.lora.alpha, CONFIG.lora.target)
    return UniGRPOLearner(policy, TorchEngine(policy.module, CONFIG, 100), CONFIG)


def test_the_base_stays_and_is_the_reference() -> None:
    learner, base = make_learner(), toy_policy().module.state_dict()
    assert isinstance(learner.reference, BaseReference)
    numbers = sum(parameter.numel() for parameter in learner.policy.module.parameters())
    assert sum(p.numel() for p in learner.reference.policy.module.parameters()) == numbers  # the same module
    reports = [learner.update(make_batch(step)) for step in range(2)]
    assert reports[0].metrics["actor/first_ratio_error"] <= 1e-5 and reports[0].updated
    assert reports[1].metrics["actor/kl_loss"] > 1e-4
    for name, value in lora.base_state(learner.policy.module).items():
        assert torch.equal(value, base[name])
    weights = learner.weights()
    assert weights.keys() == base.keys()
    moved = {name for name, value in weights.items() if not np.array_equal(value, base[name].numpy())}
    assert moved == {f"{name}.weight" for name, _ in lora.adapters(learner.policy.module)}
    plain = toy_policy()
    plain.module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    ids = torch.arange(20, 30)[None]
    torch.testing.assert_close(plain.logits(ids), learner.policy.logits(ids), rtol=0, atol=1e-5)


def test_resumes_bit_for_bit_from_the_adapter_alone(tmp_path: Path) -> None:
    straight, second = make_learner(), make_learner()
    for step in range(4):
        straight.update(make_batch(step))
        if step == 1:
            straight.save(tmp_path)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors", "base.json"} <= files
    assert not any(name.startswith("policy/") for name in files)
    second.update(make_batch(9))  # what it did before must not matter
    second.load(tmp_path)
    for step in (2, 3):
        second.update(make_batch(step))
    assert_same_weights(straight, second)


def test_another_base_is_refused(tmp_path: Path) -> None:
    make_learner().save(tmp_path)
    with pytest.raises(CheckpointError, match="belongs to another base; resume with the policy.path"):
        make_learner(scale=0.5).load(tmp_path)
    (tmp_path / "base.json").write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match=r"base.json: cannot be read"):
        make_learner().load(tmp_path)

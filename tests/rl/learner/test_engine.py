from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rl.checkpoints.optimizer_files import STATE_FILE, TENSORS_FILE
from rl.config import LearnerConfig, SftConfig
from rl.errors import CheckpointError
from rl.learner.engine import TorchEngine, adamw, lr_at

CONFIG = LearnerConfig(lr=0.1, weight_decay=0.5, max_grad_norm=1.0)


def small_module(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def train(engine: TorchEngine, first: int, last: int) -> None:
    for step in range(first, last):
        inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        engine.backward(engine.module(inputs).square().mean())
        engine.step()


def test_learning_rates_by_hand() -> None:
    config = replace(CONFIG, lr=1.0, warmup_steps=4)
    assert [lr_at(step, config, 12) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    cosine = replace(config, lr_schedule="cosine")
    assert lr_at(3, cosine, 12) == 1.0
    assert lr_at(4, cosine, 12) == 1.0
    assert lr_at(6, cosine, 12) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert lr_at(8, cosine, 12) == pytest.approx(0.5)
    assert 0 < lr_at(11, cosine, 12) < 0.05
    assert lr_at(50, cosine, 12) == pytest.approx(0.0)
    assert lr_at(0, replace(config, warmup_steps=0, lr_schedule="cosine"), 1) == 1.0


def test_a_step_is_clipped_adamw_at_the_schedules_rate() -> None:
    config = replace(CONFIG, warmup_steps=2)
    engine, twin = TorchEngine(small_module(), config, 10), small_module()
    optimizer = adamw(twin, config)
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)) * 100
    for rate in (0.05, 0.1, 0.1):
        assert engine.lr == pytest.approx(rate)
        engine.backward(engine.module(inputs).square().sum() / 2)
        engine.backward(engine.module(inputs).square().sum() / 2)
        result = engine.step()
        optimizer.zero_grad()
        twin(inputs).square().sum().backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in twin.parameters() if p.grad is not None))
        for parameter in twin.parameters():
            parameter.grad = None if parameter.grad is None else parameter.grad / norm
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        assert result.stepped and result.grad_norm == pytest.approx(norm, rel=1e-4) and norm > 1
        for ours, theirs in zip(engine.module.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_only_matrices_decay() -> None:
    decays = {p: group["weight_decay"] for group in adamw(small_module(), CONFIG).param_groups for p in group["params"]}
    assert all(decay == (0.5 if parameter.dim() == 2 else 0.0) for parameter, decay in decays.items())
    assert len(decays) == 4
    assert adamw(small_module(), SftConfig()).defaults["betas"] == (0.9, 0.98)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(poison: float) -> None:
    engine = TorchEngine(small_module(), CONFIG, 10)
    train(engine, 0, 2)
    before = {name: value.clone() for name, value in engine.module.state_dict().items()}
    moments = [value.clone() for state in engine.optimizer.state.values() for value in state.values()]
    engine.backward(engine.module(torch.ones(1, 3)).sum() * poison)
    result = engine.step()
    assert not result.stepped and not math.isfinite(result.grad_norm)
    assert all(torch.equal(before[name], value) for name, value in engine.module.state_dict().items())
    after = [value for state in engine.optimizer.state.values() for value in state.values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, after, strict=True))
    assert all(parameter.grad is None for parameter in engine.module.parameters())
    train(engine, 2, 3)
    assert all(value.isfinite().all() for value in engine.module.state_dict().values())


def test_resumes_bit_for_bit(tmp_path: Path) -> None:
    config = replace(CONFIG, lr_schedule="cosine", warmup_steps=2)
    straight = TorchEngine(small_module(), config, 8)
    train(straight, 0, 8)
    first = TorchEngine(small_module(), config, 8)
    train(first, 0, 4)
    first.save(tmp_path)
    second = TorchEngine(small_module(1), config, 8)
    second.module.load_state_dict(first.module.state_dict())
    second.load(tmp_path)
    train(second, 4, 8)
    assert second.lr == straight.lr
    for ours, theirs in zip(straight.module.parameters(), second.module.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_before_the_first_step_there_is_no_state_and_it_loads(tmp_path: Path) -> None:
    TorchEngine(small_module(), CONFIG, 8).save(tmp_path)
    engine = TorchEngine(small_module(), CONFIG, 8)
    train(engine, 0, 1)
    engine.load(tmp_path)
    assert not engine.optimizer.state and engine.lr == 0.1


def test_damaged_state_is_named(tmp_path: Path) -> None:
    engine = TorchEngine(small_module(), CONFIG, 8)
    with pytest.raises(CheckpointError, match="cannot be read"):
        engine.load(tmp_path)
    train(engine, 0, 1)
    engine.save(tmp_path)
    (tmp_path / STATE_FILE).write_text(json.dumps({"format": 99, "steps": 1}))
    with pytest.raises(CheckpointError, match="format 99"):
        engine.load(tmp_path)
    engine.save(tmp_path)
    tensors = load_file(tmp_path / TENSORS_FILE)
    save_file({**tensors, "9.weight.exp_avg": torch.zeros(2)}, tmp_path / TENSORS_FILE)
    with pytest.raises(CheckpointError, match="9.weight.exp_avg"):
        engine.load(tmp_path)
    (tmp_path / TENSORS_FILE).write_bytes(b"\x00" * 40)
    with pytest.raises(CheckpointError, match="cannot be read"):
        engine.load(tmp_path)

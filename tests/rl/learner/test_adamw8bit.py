"""AdamW with moments of 8 bits: what rounding costs, what it keeps exactly, and that it never makes a step too long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rl.config import LearnerConfig
from rl.learner import adamw8bit
from rl.learner.adamw8bit import BLOCK, AdamW8bit, dequantize, plain_moments, quantize
from rl.learner.engine import TorchEngine

CONFIG = LearnerConfig(lr=1e-2, weight_decay=0.1, optimizer="adamw8bit")


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(24, 40), nn.Tanh(), nn.Linear(40, 5))


def train(engine: TorchEngine, first: int, last: int) -> list[float]:
    losses, truth = [], network(9)
    for step in range(first, last):
        inputs = torch.randn(32, 24, generator=torch.Generator().manual_seed(step))
        loss = (engine.module(inputs) - truth(inputs).detach()).square().mean()
        losses.append(float(loss.detach()))
        engine.backward(loss)
        engine.step()
    return losses


def weights(engine: TorchEngine) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in engine.module.parameters()])


def numbers(seed: int, size: int, decades: float, signed: bool) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(size, generator=generator) * 10 ** (-decades * torch.rand(size, generator=generator))
    return found if signed else found.abs()


@given(st.integers(0, 2**31), st.integers(1, 700), st.floats(0, 9), st.booleans(), st.floats(-12, 4))
def test_rounding_is_bounded_and_happens_once(seed: int, size: int, decades: float, signed: bool, scale: float) -> None:
    values = numbers(seed, size, decades, signed) * 10**scale
    codes, scales = quantize(values, signed)
    assert codes.dtype == torch.uint8 and codes.shape == values.shape and len(scales) == -(-size // BLOCK)
    once = dequantize(codes, scales, signed)
    again = quantize(once, signed)
    assert torch.equal(again[0], codes) and torch.equal(again[1], scales), "a second rounding changes nothing"
    largest = scales.repeat_interleave(BLOCK)[:size]
    shares = values.abs() / largest
    # In the upper decade levels are 0.9/64 of the scale apart (a code spent on the sign), 0.9/128 without; each decade
    # below is ten times smaller in 2 times fewer steps.
    for decade in range(6):
        inside = (shares > 10.0 ** -(decade + 1)) & (shares <= 10.0**-decade)
        step = 0.9 / 2 ** ((6 if signed else 7) - decade) * 10.0**-decade
        assert ((once - values).abs() <= (step / 2 * 1.001 + 1e-7) * largest)[inside].all()
    assert ((once - values).abs() <= 6e-7 * largest)[shares <= 1e-6].all()
    if not signed:
        assert (once[values > 0] > 0).all(), "a root above 0 stays above 0"


@pytest.mark.parametrize("signed", [True, False])
def test_noise_keeps_the_mean(signed: bool) -> None:
    """Rounded many times, each number's mean is the number; and nothing moves further than to the codes around it."""
    values = numbers(3, 200, 4.0, signed)
    generator, draws = torch.Generator().manual_seed(0), 2000
    found = torch.stack(
        [dequantize(*quantize(values, signed, torch.rand(200, generator=generator)), signed) for _ in range(draws)]
    )
    spread = found.std(0)
    assert ((found.mean(0) - values).abs() <= 4.5 * spread / draws**0.5 + 1e-6 * values.abs().max()).all()
    assert all(len(column.unique()) <= 2 for column in found.T) and (spread > 0).sum() > 150
    exact = dequantize(*quantize(values, signed), signed)  # codes themselves are not moved
    assert torch.equal(dequantize(*quantize(exact, signed, torch.rand(200, generator=generator)), signed), exact)


def test_moments_of_a_weight_without_gradient_fall() -> None:
    """To the nearest code they would stay where they are for ever, and so would the weight's drift."""
    parameter = nn.Parameter(torch.zeros(BLOCK))
    optimizer = AdamW8bit([parameter], lr=0.0, betas=(0.9, 0.95))
    for step in range(120):
        parameter.grad = torch.ones(BLOCK)
        if step:
            parameter.grad[1:] = 0.0
        optimizer.step()
    with plain_moments(optimizer):
        (state,) = optimizer.state.values()
        assert state["exp_avg"][0] == pytest.approx(1.0, rel=0.02)
        # 0.1 * 0.9^119 is 3.6e-7 and 0.05 * 0.95^119 is 1.1e-4
        assert state["exp_avg"][1:].mean() == pytest.approx(3.6e-7, abs=5e-7)
        assert state["exp_avg_sq"][1:].mean() == pytest.approx(1.1e-4, rel=0.3)


def test_extremes_and_zeros_are_exact() -> None:
    values = torch.tensor([0.0, -3.7, 1.0, 3.7, 0.0])
    once = dequantize(*quantize(values, True), True)
    assert once[[0, 1, 3, 4]].tolist() == values[[0, 1, 3, 4]].tolist()
    nothing = torch.zeros(300)
    assert torch.equal(dequantize(*quantize(nothing, True), True), nothing)


def test_the_first_step_is_adamws() -> None:
    """Nothing has been rounded yet."""
    eight, plain = TorchEngine(network(), CONFIG, 10), TorchEngine(network(), replace(CONFIG, optimizer="adamw"), 10)
    train(eight, 0, 1)
    train(plain, 0, 1)
    torch.testing.assert_close(weights(eight), weights(plain), rtol=1e-5, atol=1e-7)


def test_it_learns_as_adamw_does() -> None:
    eight, plain = TorchEngine(network(), CONFIG, 200), TorchEngine(network(), replace(CONFIG, optimizer="adamw"), 200)
    ours, theirs = train(eight, 0, 200), train(plain, 0, 200)
    assert theirs[-1] < 0.05 * theirs[0]
    assert sum(ours[-20:]) == pytest.approx(sum(theirs[-20:]), rel=0.1)
    moved = (weights(plain) - weights(TorchEngine(network(), CONFIG, 1))).norm()
    assert (weights(eight) - weights(plain)).norm() < 0.1 * moved


def test_two_bytes_a_parameter() -> None:
    module = nn.Linear(256, 64, bias=False)
    optimizer = AdamW8bit(module.parameters(), lr=1e-3, betas=(0.9, 0.95))
    module.weight.grad = torch.randn(64, 256)
    optimizer.step()
    (state,) = optimizer.state.values()
    kept = sum(value.numel() * value.element_size() for value in state.values()) - state["step"].element_size()
    assert kept == 64 * 256 * (2 + 2 * 4 / BLOCK)


def test_no_step_is_long_where_gradients_differ_by_many_decades() -> None:
    """The trap of a second moment that is rounded to 0 under a first one that is not: a step of m / eps."""
    generator = torch.Generator().manual_seed(0)
    sizes = 10 ** (-9 * torch.rand(BLOCK, generator=generator))
    parameter = nn.Parameter(torch.zeros(BLOCK))
    optimizer = AdamW8bit([parameter], lr=1.0, betas=(0.9, 0.95), eps=1e-12)
    for step in range(1, 61):
        before = parameter.detach().clone()
        parameter.grad = sizes * torch.randn(BLOCK, generator=generator)
        optimizer.step()
        # |m| <= sqrt(v) * (1 - b1) / sqrt((1 - b2) (1 - b1^2 / b2)), then both moments' corrections for their start
        bound = 0.1 / (0.05 * (1 - 0.81 / 0.95)) ** 0.5 * (1 - 0.95**step) ** 0.5 / (1 - 0.9**step)
        assert float((parameter.detach() - before).abs().max()) <= bound * 1.00001


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = TorchEngine(network(), CONFIG, 10), TorchEngine(network(), CONFIG, 10)
    train(whole, 0, 5)
    monkeypatch.setattr(adamw8bit, "CHUNK", BLOCK)
    train(parts, 0, 5)
    assert torch.equal(weights(whole), weights(parts))


def test_resume_bit_for_bit_and_from_and_to_plain_adamw(tmp_path: Path) -> None:
    straight = TorchEngine(network(), CONFIG, 10)
    train(straight, 0, 4)
    straight.save(tmp_path)
    again, plain = TorchEngine(network(1), CONFIG, 10), TorchEngine(network(1), replace(CONFIG, optimizer="adamw"), 10)
    for engine in (again, plain):
        engine.module.load_state_dict(straight.module.state_dict())
        engine.load(tmp_path)
    with plain_moments(straight.optimizer):
        for ours, theirs in zip(straight.module.parameters(), plain.module.parameters(), strict=True):
            for key in ("exp_avg", "exp_avg_sq"):
                assert torch.equal(straight.optimizer.state[ours][key], plain.optimizer.state[theirs][key])
    plain.save(tmp_path)  # the same file, so that a run may change its optimizer in either direction
    back = TorchEngine(network(1), CONFIG, 10)
    back.module.load_state_dict(straight.module.state_dict())
    back.load(tmp_path)
    for engine in (straight, again, back):
        train(engine, 4, 8)
    assert torch.equal(weights(again), weights(straight)) and torch.equal(weights(back), weights(straight))


def test_bfloat16_weights_are_stepped_in_float32() -> None:
    parameter = nn.Parameter(torch.ones(8, dtype=torch.bfloat16))
    optimizer = AdamW8bit([parameter], lr=0.25, betas=(0.9, 0.95))
    parameter.grad = torch.full((8,), 2.0, dtype=torch.bfloat16)
    optimizer.step()
    assert parameter.dtype == torch.bfloat16 and parameter.tolist() == [0.75] * 8


@pytest.mark.parametrize("count", [1, 7, 256, 1000])
def test_moments_begin_as_those_of_zeros(count: int) -> None:
    """Made without a float32 of them, bit for bit."""
    parameter = torch.randn(count, 3)
    zeros = {name: torch.zeros_like(parameter) for name in (adamw8bit._FIRST, adamw8bit._ROOT)}
    plain = adamw8bit._compressed({adamw8bit._STEP: torch.zeros(()), **zeros})
    made = adamw8bit._empty(parameter)
    assert made.keys() == plain.keys()
    for name, value in made.items():
        assert value.dtype == plain[name].dtype and torch.equal(value, plain[name]), name

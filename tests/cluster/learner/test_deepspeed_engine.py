"""DeepSpeed behind the Engine protocol, beside plain AdamW, at every stage."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from cluster.learner.deepspeed_engine import DeepSpeedEngine, start_distributed
from policies.network.transformer import Transformer, TransformerConfig
from rl.config import LearnerConfig
from rl.errors import CheckpointError
from rl.learner.engine import Engine, StepResult, TorchEngine
from tests.wide import wide

SETTINGS = LearnerConfig(lr=1e-2, warmup_steps=3, lr_schedule="cosine", weight_decay=0.1, max_grad_norm=0.5)
STAGES = (0, 1, 2, 3)
POISONED = 2  # this step's gradient is not finite


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 7), nn.LayerNorm(7), nn.Linear(7, 3)).to(dtype)


def deepspeed_engine(
    folder: Path,
    stage: int,
    dtype: torch.dtype = torch.float32,
    offload: bool = False,
    settings: LearnerConfig = SETTINGS,
) -> DeepSpeedEngine:
    start_distributed(0, 1, None, "cpu", 60.0)
    log = folder / "deepspeed.log"
    return DeepSpeedEngine(network(dtype), settings, 10, zero_stage=stage, offload=offload, log=log)


def train(engine: Engine, first: int, last: int, parts: int = 3) -> list[StepResult]:
    """Steps first..last-1, each on 12 rows in so many micro-batches; rows depend on the step alone."""
    results = []
    dtype = next(engine.module.parameters()).dtype
    for step in range(first, last):
        rows = torch.randn(12, 8, generator=torch.Generator().manual_seed(step)).to(dtype)
        if step == POISONED:
            rows[5, 3] = math.nan
        for part in rows.chunk(parts):
            engine.backward(engine.module(part).pow(2).sum() / len(rows))
        results.append(engine.step())
    return results


def weights(engine: Engine) -> torch.Tensor:
    with engine.whole():
        return torch.cat([parameter.detach().float().flatten() for parameter in engine.module.parameters()])


@pytest.mark.parametrize("stage", wide(STAGES, 3))
def test_the_same_steps_as_plain_adamw(tmp_path: Path, stage: int, capfd: pytest.CaptureFixture[str]) -> None:
    plain, engine = TorchEngine(network(), SETTINGS, 10), deepspeed_engine(tmp_path, stage)
    expected, found = train(plain, 0, 6), train(engine, 0, 6)
    assert [result.stepped for result in found] == [step != POISONED for step in range(6)]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.stepped == theirs.stepped
        if ours.stepped:  # the norm before clipping, of micro-batches that add up
            assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-5)
            assert ours.grad_norm > SETTINGS.max_grad_norm
        else:
            assert not math.isfinite(ours.grad_norm)
    assert engine.lr == plain.lr  # the schedule goes on over a skipped step
    torch.testing.assert_close(weights(engine), weights(plain), rtol=0, atol=0 if stage == 0 else 1e-6)
    assert capfd.readouterr() == ("", "")  # DeepSpeed talks to its file


@pytest.mark.parametrize("stage", wide(STAGES, 3))
def test_micro_batches_do_not_change_the_step(tmp_path: Path, stage: int) -> None:
    one, many = deepspeed_engine(tmp_path, stage), deepspeed_engine(tmp_path, stage)
    train(one, 0, 2, parts=1)
    train(many, 0, 2, parts=6)
    torch.testing.assert_close(weights(one), weights(many), rtol=0, atol=1e-6)


@pytest.mark.parametrize("stage", wide(STAGES, 3))
def test_a_poisoned_step_leaves_no_trace(tmp_path: Path, stage: int) -> None:
    engine = deepspeed_engine(tmp_path, stage)
    train(engine, 0, POISONED)
    before = weights(engine)
    assert not train(engine, POISONED, POISONED + 1)[0].stepped
    assert torch.equal(weights(engine), before)


@pytest.mark.parametrize("done", [0, 4])
@pytest.mark.parametrize("stage", wide(STAGES, 3))
def test_resume_bit_for_bit_and_in_another_engine(tmp_path: Path, stage: int, done: int) -> None:
    straight = deepspeed_engine(tmp_path, stage)
    train(straight, 0, 6)
    half = deepspeed_engine(tmp_path, stage)
    train(half, 0, done)
    half.save(tmp_path)
    other_stage = (stage + 1) % 4
    for engine in (
        deepspeed_engine(tmp_path, stage),
        deepspeed_engine(tmp_path, other_stage),
        TorchEngine(network(), SETTINGS, 10),
    ):
        train(engine, 0, 1)  # what it did before must not matter
        with half.whole():
            middle = {name: value.clone() for name, value in half.module.state_dict().items()}
        with engine.whole(change=True):
            engine.module.load_state_dict(middle)
        engine.load(tmp_path)
        train(engine, done, 6)
        same_arithmetic = isinstance(engine, DeepSpeedEngine) and engine.stage == stage
        torch.testing.assert_close(weights(engine), weights(straight), rtol=0, atol=0 if same_arithmetic else 1e-6)


@pytest.mark.parametrize("stage", wide([1, 2, 3], 2))
def test_an_offloaded_optimizer_takes_the_same_steps(tmp_path: Path, stage: int) -> None:
    plain, offloaded = deepspeed_engine(tmp_path, stage), deepspeed_engine(tmp_path, stage, offload=True)
    expected, found = train(plain, 0, 5), train(offloaded, 0, 5)
    assert [result.stepped for result in found] == [result.stepped for result in expected]
    torch.testing.assert_close(weights(offloaded), weights(plain), rtol=0, atol=1e-6)
    offloaded.save(tmp_path)
    again = deepspeed_engine(tmp_path, stage, offload=True)
    with offloaded.whole():
        middle = {name: value.clone() for name, value in offloaded.module.state_dict().items()}
    with again.whole(change=True):
        again.module.load_state_dict(middle)
    again.load(tmp_path)
    train(offloaded, 5, 7)
    train(again, 5, 7)
    assert torch.equal(weights(again), weights(offloaded))


@pytest.mark.parametrize(
    ("stage", "dtype", "offload"),
    wide([(2, torch.float32, True), (0, torch.float32, False), (1, torch.float32, False), (3, torch.float32, False),
          (3, torch.bfloat16, False)], 4, unpack=True),
)  # fmt: skip
def test_eight_bit_moments_at_every_stage(tmp_path: Path, stage: int, dtype: torch.dtype, offload: bool) -> None:
    """It trains as AdamW does, skips a poisoned step, goes on bit for bit, and its checkpoint serves every other engine."""
    settings = replace(SETTINGS, optimizer="adamw8bit")
    straight = deepspeed_engine(tmp_path, stage, dtype, offload, settings)
    plain = deepspeed_engine(tmp_path, stage, dtype, offload)
    assert [result.stepped for result in train(straight, 0, 4)] == [result.stepped for result in train(plain, 0, 4)]
    # At these rates a step is at most 1e-2 a weight, and rounding a moment changes a step by a few percent of it.
    torch.testing.assert_close(weights(straight), weights(plain), rtol=0, atol=3e-3)
    kept = [state for state in straight._engine.basic_optimizer.state.values() if state]
    assert kept and all(state[key].dtype == torch.uint8 for state in kept for key in ("exp_avg", "exp_avg_sq"))
    straight.save(tmp_path)
    again = deepspeed_engine(tmp_path, stage, dtype, offload, settings)
    others = [TorchEngine(network(), settings, 10), deepspeed_engine(tmp_path, (stage + 1) % 4)]
    for engine in (again, *others):
        with straight.whole():
            middle = {name: value.clone().float() for name, value in straight.module.state_dict().items()}
        with engine.whole(change=True):
            engine.module.load_state_dict(middle)
        engine.load(tmp_path)
    for engine in (straight, again, *others):
        train(engine, 4, 6)
    assert torch.equal(weights(again), weights(straight))
    for engine in others:
        torch.testing.assert_close(
            weights(engine), weights(straight), rtol=0, atol=3e-2 if dtype is torch.bfloat16 else 3e-3
        )


@pytest.mark.parametrize("stage", [0, 3])
def test_bfloat16_keeps_float32_weights(tmp_path: Path, stage: int) -> None:
    """Steps far below bfloat16's resolution add up, and a resumed run has the same ones behind the rounding."""
    exact, engine = TorchEngine(network(), SETTINGS, 10), deepspeed_engine(tmp_path, stage, torch.bfloat16)
    expected, found = train(exact, 0, 6), train(engine, 0, 6)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.stepped == theirs.stepped
        if ours.stepped:
            assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=0.02)
    torch.testing.assert_close(weights(engine), weights(exact), rtol=0, atol=5e-3)
    half, rest = (deepspeed_engine(tmp_path, stage, torch.bfloat16) for _ in range(2))
    train(half, 0, 4)
    half.save(tmp_path)
    with half.whole():
        middle = {name: value.clone() for name, value in half.module.state_dict().items()}
    with rest.whole(change=True):
        rest.module.load_state_dict(middle)
    rest.load(tmp_path)
    train(rest, 4, 6)
    assert torch.equal(weights(rest), weights(engine))


def test_another_models_state_is_refused(tmp_path: Path) -> None:
    engine = deepspeed_engine(tmp_path, 1)
    train(engine, 0, 1)
    engine.save(tmp_path)
    smaller = DeepSpeedEngine(nn.Sequential(nn.Linear(8, 7)), SETTINGS, 10, log=tmp_path / "deepspeed.log")
    with pytest.raises(CheckpointError, match=r"optimizer state of '1.bias'.*no such parameter"):
        smaller.load(tmp_path)


@pytest.mark.parametrize("tied", [False, True])
def test_stage_3_keeps_whole_what_is_read_without_a_call(tmp_path: Path, tied: bool) -> None:
    """A head is read by slices; where it is the embedding too, that one's own calls must not take it away."""
    start_distributed(0, 1, None, "cpu", 60.0)
    sizes = TransformerConfig(50, 16, 1, 2, 32, tied_head=tied)

    def make() -> Transformer:
        module = Transformer(sizes)
        module.reset_parameters(torch.Generator().manual_seed(0))
        return module

    def steps(engine: Engine) -> list[float]:
        losses, module = [], engine.module
        assert isinstance(module, Transformer)
        for step in range(4):
            ids = torch.arange(6)[None] + step
            hidden = module(ids)
            losses.append((hidden[0] @ module.head_weight(3, 20).T).square().mean())
            engine.backward(losses[-1])
            assert engine.step().stepped
        return [float(loss.detach()) for loss in losses]

    plain = TorchEngine(make(), SETTINGS, 10)
    engine = DeepSpeedEngine(make(), SETTINGS, 10, zero_stage=3, log=tmp_path / "deepspeed.log")
    assert steps(engine) == pytest.approx(steps(plain), abs=1e-6)
    torch.testing.assert_close(weights(engine), weights(plain), rtol=0, atol=1e-6)

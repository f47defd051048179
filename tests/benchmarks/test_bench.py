"""``unigrpo bench all`` and ``quick``: floors by hand, the plain side's loss, where a start's time goes, and the spread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.bench import ratios, whole
from benchmarks.bench.floors import (
    Machine,
    assumed,
    learning_flops,
    model,
    rollouts_of_step,
    sampling_flops,
    step_flops,
    step_seconds,
)
from benchmarks.bench.loop import alike, row, rows
from benchmarks.bench.single_process import PlainLearner, plain_image, plain_objective, plain_text, token_log_probs
from benchmarks.bench.starts import parts
from cluster.plan.plan import Assumed, samplers
from cluster.plan.sizes import forward_flops
from policies import load_policy
from rl.config import load_config
from rl.errors import ConfigError
from rl.learner.microbatches import collate
from rl.losses import unigrpo
from rl.types import ImageSampling, MaskDraw, Message, Prompt, Task, TextSampling, TrainBatch
from tests.benchmarks.artefacts import faults

ROOT = Path(__file__).parents[2]
MACHINE = Machine(2, 1e9, 2e9)
ASSUMED = Assumed(prompt_tokens=80, image_codes=36)


def kind_of(config: Any, task: str) -> Any:
    return next(kind for kind in samplers(config, ASSUMED) if kind.task == task)


def test_the_floor_of_sampling_is_its_passes_by_hand() -> None:
    """A group of 8 in 4 steps: one pass of one, three of eight. A drawing in one step is one pass, twice for guidance."""
    config = load_config("tiny")
    sizes = model(config)
    text, draw = kind_of(config, "text"), kind_of(config, "draw")
    assert sampling_flops(config, sizes, text) == 25 * forward_flops(sizes.sizes, text.length, 18)
    assert sampling_flops(config, sizes, draw) == 2 * forward_flops(sizes.sizes, draw.length, 36)


def test_the_floor_of_learning_is_its_passes_by_hand() -> None:
    """Equal masks: a group is one sequence; old and reference once, two updates of three passes. Else each rollout is."""
    config = load_config("tiny")
    sizes, text = model(config), kind_of(config, "text")
    assert learning_flops(config, sizes, text) == 8 * forward_flops(sizes.sizes, text.length, 36)
    other = load_config("tiny", ["learner.algorithm.schedule=stratified"])
    assert learning_flops(other, sizes, text) == 8 * 10 * forward_flops(sizes.sizes, text.length, 18)


def test_a_step_is_its_groups_over_what_the_cores_reach() -> None:
    config = load_config("tiny")
    found = step_flops(config, ASSUMED, trained=0.5)
    assert step_seconds(config, ASSUMED, MACHINE, 0.5) == pytest.approx(sum(found.values()) / 2e9)
    assert found["learning"] == pytest.approx(step_flops(config, ASSUMED)["learning"] / 2)
    expected = 18 * (0.33 * 8 + 0.28 * 16 + 0.39 * 32)
    assert rollouts_of_step(config, ASSUMED) == pytest.approx(expected)


def test_prompts_are_measured_without_their_images() -> None:
    found = assumed(load_config("tiny"), count=6)
    assert found.image_codes == 36 and 5 < found.prompt_tokens < 200


def batch_of() -> TrainBatch:
    generator = np.random.default_rng(0)
    lengths, start = (24, 20), 12
    return TrainBatch(
        token_ids=tuple(generator.integers(16, 700, length) for length in lengths),
        response_mask=tuple(np.arange(length) >= start for length in lengths),
        advantages=np.array([1.0, -0.5], np.float32),
        mask_draws=tuple(tuple(MaskDraw(10 * n + i, 0.6) for i in range(2)) for n in range(2)),
        tasks=(Task.TEXT,) * 2,
        step_maps=tuple(np.zeros(length - start, np.int32) for length in lengths),
    )


def test_the_plain_loss_is_ours() -> None:
    config = load_config("tiny", ["learner.algorithm.schedule=stratified"])
    policy, batch = load_policy("tiny"), batch_of()
    data = collate(batch, [(0, 0.5), (1, 0.5)], torch.device("cpu"), config.learner.algorithm)
    with torch.no_grad():
        logp = token_log_probs(policy, data, 1)
        old, ref = logp - 0.1 * torch.randn_like(logp), logp + 0.2
        plain = plain_objective(logp, old, ref, data, 1, config)
        ours = unigrpo(
            logp,
            old,
            ref,
            data.advantages,
            data.masks[1],
            replace(config.learner.algorithm, kl_clip=10.0),
            data.lengths,
        )
    assert float(plain) == pytest.approx(float(ours.loss), rel=1e-5)


def test_the_plain_learner_changes_its_weights_and_not_its_reference() -> None:
    learner = PlainLearner(load_config("tiny", ["learner.threads=1", "policy.device=cpu", "learner.warmup_steps=0"]))
    before = {name: value.copy() for name, value in learner.weights().items()}
    assert learner.update(batch_of()).updated
    assert any(not np.array_equal(before[name], value) for name, value in learner.weights().items())
    frozen = learner.reference.module.state_dict()
    assert all(np.array_equal(before[name], value.numpy()) for name, value in frozen.items())


def test_the_plain_samplers_write_what_ours_may_write() -> None:
    policy = load_policy("tiny")
    text = plain_text(policy, [5, 17, 18], TextSampling(8, 4, 4, temperature=1.0), [1, 2])
    assert len(text) == 2 and all(0 < len(each.token_ids) <= 8 for each in text)
    prompt = policy.encode_prompt(Prompt("p", Task.DRAW, (Message("user", "a red ball"),)))
    images = plain_image(policy, prompt, ImageSampling(1, 0.3), [1, 2])
    assert all(
        each.token_ids.shape == (36,) and 0 <= each.token_ids.min() <= each.token_ids.max() < 1024 for each in images
    )


def test_the_time_of_a_start_is_told_by_part() -> None:
    marks = {"command": 10.0, "python": 10.5, "imports": 14.0, "actors": 20.0, "first rollout": 20.5, "end": 30.0}
    assert parts(marks) == {"python": 0.5, "imports": 3.5, "actors": 6.0, "first rollout": 0.5}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ([1.0, 1.2, 1.1, 1.3], [1.05, 1.15, 1.15, 1.25], True),
        ([1.0, 1.2, 1.1, 1.3], [2.0, 2.1, 2.2, 2.2], False),
        ([1.0], [1.0], None),
    ],
)
def test_curves_are_compared_with_their_error(one: list[float], other: list[float], equal: bool | None) -> None:
    assert alike(one, other)["alike"] is equal


def test_every_side_of_the_loop_is_a_row() -> None:
    found = {
        "step_s": {"ours": 1.0, "single process": 4.0}, "floor_s": 0.5, "of_floor": {"ours": 0.5, "single process": 0.125},
        "ours_over": {"single process": 4.0},
    }  # fmt: skip
    assert [(each["value"], each["ratio"]) for each in rows(found)] == [(1.0, None), (4.0, 4.0)]
    assert "| whole loop, single process | 4 s a step | 0.5 s a step | 12% | 4.00x |" in whole.table(rows(found))


@pytest.mark.parametrize(
    ("value", "spread", "said"),
    [
        (2.0, {"a": [1.5, 2.5]}, 0),
        (1.4, {"a": [1.5, 2.5]}, 1),
        (2.6, {"a": [1.5, 2.5]}, 1),
        (2.0, {}, 1),
        (None, {}, 0),
    ],
)
def test_a_ratio_outside_of_its_spread_is_said(
    value: float | None, spread: dict[str, Sequence[float]], said: int
) -> None:
    assert len(whole.outside([row("a", 1.0, "s", None, None, value)], spread)) == said


def test_a_spread_is_what_was_seen_and_a_tenth(tmp_path: Path) -> None:
    file = tmp_path / "spread.json"
    runs = [{"machine": {}, "rows": [row("a", 1.0, "s", None, None, value)]} for value in (2.0, 3.0)]
    assert whole.keep_spread(runs, file) == {"a": [1.8, 3.3]} == whole.read_spread(file)
    file.write_text('{"ratios": {"a": 3}}')
    with pytest.raises(ConfigError, match="not a spread"):
        whole.read_spread(file)
    assert whole.read_spread(tmp_path / "none.json") == {}


def test_the_committed_spread_is_one() -> None:
    assert all(0 < low < high for low, high in whole.read_spread().values())


@pytest.mark.parametrize("name", ratios.LEARNED)
def test_learners_have_a_floor(name: str) -> None:
    assert ratios.learner_flops(name) > 0
    assert ratios.learner_flops("gradient") < ratios.learner_flops("gradient_equal")


def test_a_wrong_part_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["all", "--only", "loops"])
    assert result.exit_code == 2 and result.stderr.startswith(
        "error: --only loops: allowed: loop, starts, memory, ratios"
    )


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_part_is_measured_and_written(tmp_path: Path) -> None:
    """With few steps of a small batch: that it runs."""
    out = tmp_path / "bench.json"
    command = [sys.executable, "-m", "benchmarks", "all", "--steps", "3", "--repeats", "1", "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert faults("bench", found) == [] and set(found["parts"]) == set(whole.PARTS)
    assert set(found["parts"]["starts"]["warm"]["parts"]) >= {"imports", "checks", "Ray", "actors", "first rollout"}
    assert len(out.with_suffix(".md").read_text().splitlines()) == 2 + len(found["rows"])

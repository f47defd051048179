"""The measurements of the learner: both sides compute the same, and the reports say what was run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.learning import estimators
from benchmarks.speed import learner
from benchmarks.speed.learner import Bench, Shape
from rl.config import UniGRPOConfig
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt

SMALL = Shape(d_model=16, n_layers=2, n_heads=2, mlp_hidden_size=32, prompt=4, responses=(12, 5), logits_mib=0.01)


def test_both_sides_have_the_same_gradient() -> None:
    result = Bench(SMALL, 2048).fidelity()
    assert result["gradient_relative_error"] < 1e-5
    assert result["ours_saved_bytes"] < 0.5 * result["plain_saved_bytes"]


def test_both_sides_take_the_same_steps() -> None:
    sides = Bench(SMALL, 2048)
    ours, plain = sides.steps()
    ours()
    plain()
    mine, theirs = (policy.module.state_dict() for policy in sides.trained)
    before = sides.policy.module.state_dict()
    # Adam's first steps are the sign of a gradient: a rounding error in a tiny one may turn it.
    gap = torch.cat([(mine[name] - value).flatten() for name, value in theirs.items()]).abs()
    moved = torch.cat([(value - before[name]).flatten() for name, value in theirs.items()]).abs()
    assert gap.max() <= 1e-4 and moved.max() > 1e-5
    assert gap.mean() < 0.05 * moved.mean()


@pytest.mark.long
def test_the_learners_report() -> None:
    lines: list[str] = []
    result = learner.run(1, SMALL, [2048], lines.append)
    assert [case["case"] for case in result["cases"]] == ["gradient_equal", "gradient", "step", "packing"]
    assert all(case["speedup"] > 0 and len(case["ours_cpu_s"]) == 1 for case in result["cases"])
    assert result["cases"][-1]["gradient_relative_error"] < 1e-5
    assert len(lines) == 4 and "vocabulary 2,048" in lines[0]
    json.dumps(result)


def test_errors_take_the_noise_off() -> None:
    """Of a mean over n draws with variance v, v/n is noise, not bias."""
    truth = estimators.Moments(np.array([-1.0]), torch.tensor([3.0, 4.0]), 0.0)
    found = estimators.Moments(np.array([-1.5, -0.7]), torch.tensor([3.0, 6.0]), 2.0)
    row = estimators.errors(found, truth, 1)
    assert row["bias"] == pytest.approx(-0.1) and row["sd"] == pytest.approx(0.8 / 2**0.5)
    assert row["gradient_bias"] == pytest.approx((4 - 2 / 2) ** 0.5 / 5)
    assert row["gradient_sd"] == pytest.approx(2**0.5 / 5)


@pytest.mark.parametrize("prompt", [toy_text_prompt(1), toy_draw_prompt(1)], ids=["text", "image"])
def test_an_estimate_is_the_policy_gradient(prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    """The full mask has no noise: any two steps agree, and so does a nudge of the weights along the gradient."""
    monkeypatch.setattr(estimators, "TEXT", replace(estimators.TEXT, max_new_tokens=8, steps=4))
    policy, config = toy_policy(), UniGRPOConfig(mu=1, schedule="full")
    group = estimators.sample(policy, prompt, 4)
    found = estimators.measure(policy, group, config, 2)
    assert found.variance == pytest.approx(0.0, abs=1e-9) and np.ptp(found.values) == pytest.approx(0.0, abs=1e-6)
    before = objective(policy, group, config)
    norm, first = float(found.gradient.norm()), 0
    with torch.no_grad():
        for parameter in policy.module.parameters():
            step = found.gradient[first : first + parameter.numel()].view_as(parameter)
            parameter += 1e-3 / norm * step
            first += parameter.numel()
    assert objective(policy, group, config) - before == pytest.approx(1e-3 * norm, rel=0.1)


def objective(policy, group, config: UniGRPOConfig) -> float:
    data = estimators.collate(
        estimators.prepare([group], estimators.Config(learner=estimators.LearnerConfig(config)), 0),
        [(i, 0.25) for i in range(4)], torch.device("cpu"), config,
    )  # fmt: skip
    with torch.no_grad():
        return float((data.advantages * estimators.per_token(policy, data, 0, config)).mean())


@pytest.mark.long
def test_the_estimators_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toys = {"text": [toy_text_prompt(1)], "image": [toy_draw_prompt(1)]}
    monkeypatch.setattr(estimators, "bench_prompts", lambda count: toys)
    monkeypatch.setattr(estimators, "load_policy", lambda name: toy_policy())
    monkeypatch.setattr(estimators, "TEXT", replace(estimators.TEXT, max_new_tokens=8, steps=4))
    result = estimators.run(draws=2, reference_passes=64, log=lambda line: None)
    assert len(result["rows"]) == 2 * len(estimators.estimators(6))
    assert "| SPG |" in estimators.table(result, "image")
    estimators.plot(result, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000

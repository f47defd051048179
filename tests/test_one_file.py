"""``examples/unigrpo_in_one_file.py`` is the library's algorithm: the same masks' ratios, loss and gradient."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from policies.generate import rollout_group
from rl.config import Config, LearnerConfig, UniGRPOConfig
from rl.learner.engine import TorchEngine
from rl.learner.update import UniGRPOLearner
from rl.masking import mask_pattern, timesteps
from rl.prepare import prepare
from rl.tracking.clock import Clock
from rl.types import Group, Score, TextSampling, TrainBatch
from tests.toys import toy_policy, toy_text_prompt

FILE = Path(__file__).parents[1] / "examples" / "unigrpo_in_one_file.py"
SETTINGS = LearnerConfig(UniGRPOConfig(mu=3, kl_coef=0.01), micro_batch_size_per_gpu=2, threads=1)


@cache
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("unigrpo_in_one_file", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["unigrpo_in_one_file"] = module
    spec.loader.exec_module(module)
    return module


@cache
def batch() -> TrainBatch:
    """Two groups of four responses of different lengths, with scores from a generator."""
    policy, scores = toy_policy(scale=0.5), np.random.default_rng(0)
    groups = []
    for index in (0, 1):
        prompt = toy_text_prompt(index)
        sampling = (TextSampling(12, 6, 4), TextSampling(5, 5, 2))[index]
        rollouts = rollout_group(policy, prompt, sampling, [10 * index + k for k in range(4)], 0)
        groups.append(Group(prompt, rollouts, tuple(Score(float(value)) for value in scores.normal(size=4))))
    return replace(prepare(groups, Config(learner=SETTINGS), 0), on_policy=False)  # so that old log-probs are kept


def as_example(found: TrainBatch) -> tuple[Any, list[torch.Tensor]]:
    """The library's batch and masks as the example has them."""
    starts = [int(np.flatnonzero(mask)[0]) for mask in found.response_mask]
    rows = list(zip(found.token_ids, starts, strict=True))
    questions, answers = ([row[:start].tolist() for row, start in rows], [row[start:].tolist() for row, start in rows])
    advantages = torch.tensor(found.advantages, dtype=torch.float32)
    theirs = example().collate(questions, answers, advantages)
    masks = []
    for draws in found.mask_draws:
        mask = torch.zeros_like(theirs.response)
        for row, draw in enumerate(draws):
            length = len(answers[row])
            mask[row, starts[row] : starts[row] + length] = torch.from_numpy(mask_pattern(draw, length))
        masks.append(mask)
    return theirs, masks


def test_loss_and_gradient_are_the_librarys_on_the_same_rollouts() -> None:
    """Under each inner update's masks, with weights that have moved since the old log-probs: ratios are not 1."""
    found = batch()
    lengths = {int(mask.sum()) for mask in found.response_mask}
    assert len(lengths) > 1, "responses of one length would not show how a mean is taken"
    policy = toy_policy(scale=0.5)
    reference = policy.with_frozen_copy()
    learner = UniGRPOLearner(policy, TorchEngine(policy.module, SETTINGS, 10), SETTINGS)
    (scored,) = learner._score(found, Clock())
    theirs, masks = as_example(found)
    with torch.no_grad():
        old = [example().log_probs(policy, theirs, mask) for mask in masks]
        ref = [example().log_probs(reference, theirs, mask) for mask in masks]
        generator = torch.Generator().manual_seed(1)
        for parameter in policy.module.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    for n, mask in enumerate(masks):
        policy.module.zero_grad()
        loss = sum(float(learner._gradient(micro, n).output.loss.detach()) for micro in scored)
        expected = {name: each.grad.clone() for name, each in policy.module.named_parameters() if each.grad is not None}
        policy.module.zero_grad()
        logp = example().log_probs(policy, theirs, mask)
        ratio = (logp - old[n]).exp()[mask]
        assert ((ratio < 0.8) | (ratio > 1.2)).any() and ((ratio > 0.8) & (ratio < 1.2)).any()  # clipped, and not
        own = example().unigrpo_loss(logp, old[n], ref[n], theirs.advantages, mask)
        own.backward()
        assert float(own.detach()) == pytest.approx(loss, abs=1e-6)
        for name, parameter in policy.module.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("schedule", ["stratified", "full"])
@pytest.mark.parametrize("mu", [1, 2, 5])
def test_ratios_are_the_librarys(schedule: str, mu: int) -> None:
    for seed in range(20):
        expected = timesteps(schedule, mu, seed)
        found = example().mask_ratios(schedule, mu, expected[0])
        assert [round(1000 * ratio) for ratio in found] == expected


def test_a_mask_hides_its_share_of_the_response_and_none_of_the_prompt() -> None:
    response = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0, 0, 0], [1] * 8]).bool()
    for ratio, counts in ((0.001, [1, 1, 1]), (0.5, [3, 1, 4]), (1.0, [5, 1, 8])):
        mask = example().structured_mask(response, ratio, torch.Generator().manual_seed(3))
        assert mask.sum(1).tolist() == counts and not (mask & ~response).any()


def test_advantages_and_rewards_by_hand() -> None:
    found = example().group_advantages(torch.tensor([[1.0, 3.0], [2.0, 2.0]]))
    assert found.tolist() == [[-1.0, 1.0], [0.0, 0.0]]
    puzzle, solution = "0034341221434321", "1234341221434321"
    assert example().reward(f"<think>x</think>{solution}", puzzle, solution) == 4.5
    assert example().reward("<think>x</think>1334341221434321", puzzle, solution) == 0.5 + 2.0 * 0.5
    assert example().reward(solution, puzzle, solution) == 4.0


def test_it_is_short_and_runs() -> None:
    assert len(FILE.read_text().splitlines()) <= 300
    options = ("--steps", "1", "--prompts", "2", "--group", "4", "--held-out", "4")
    done = subprocess.run([sys.executable, str(FILE), *options], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("held out, before: ") and lines[1].startswith("step 1/1  reward ")
    assert lines[2].startswith("held out, after: ")

"""Objectives that look at the whole update: the same for one micro-batch, for many, and for two ranks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.policy import bench_policy
from rl.config import LearnerConfig, UniGRPOConfig
from rl.learner.reference import Reference
from rl.learner.update import UniGRPOLearner
from rl.objectives import OBJECTIVES
from rl.objectives.base import Terms, loss_of, sums_by_group
from rl.registry import resolve
from rl.types import TrainBatch
from tests.rl.learner.test_agreed_passes import SHAPE, Meeting, ThreadEngine, batch
from tests.rl.test_objectives import assert_written, change, random_terms

WHOLE = [name for name, objective in sorted(OBJECTIVES.items()) if objective.totals is not None]


def grouped(seed: int, groups: Sequence[int] = (0, 1, 0, 1, 1), **settings) -> Terms:
    return replace(random_terms(seed, b=len(groups)), groups=torch.tensor(groups), **settings)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 1.0, 3.0]))
def test_trafl_is_trajectory_balance_with_each_prompts_best_constant(seed: int, psi: float) -> None:
    """Its gradient is also that of the equation with the constant inside: a minimiser has no slope."""
    terms = grouped(seed)
    ref, groups = terms.ref_logp, [0, 1, 0, 1, 1]
    assert ref is not None

    def gap(i: int) -> Tensor:
        return change(terms, i, ref) / terms.lengths[i] - psi * terms.advantages[i]

    def rollout(i: int) -> Tensor:
        members = [j for j, group in enumerate(groups) if group == groups[i]]
        weight = sum(terms.weights[j] for j in members)
        log_z = -sum((terms.weights[j] * gap(j) for j in members), torch.zeros(())) / weight
        return (log_z + gap(i)) ** 2

    assert_written(terms, UniGRPOConfig(objective="trafl", residual_scale=psi), rollout)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(-3, 3), st.floats(-3, 3))
def test_trafl_does_not_see_what_all_rewards_of_a_prompt_share(seed: int, first: float, second: float) -> None:
    terms, config = grouped(seed), UniGRPOConfig(objective="trafl")
    shift = torch.tensor([first, second, first, second, second])
    moved = replace(terms, advantages=terms.advantages + shift)
    assert loss_of(moved, config).loss.item() == pytest.approx(loss_of(terms, config).loss.item(), rel=1e-9, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1.02, 1.2, 5.0]), st.sampled_from([0.0, 0.3]))
def test_stabledrl_is_the_written_equation(seed: int, cap: float, kl_coef: float) -> None:
    config = UniGRPOConfig(objective="stabledrl", weight_cap=cap, kl_coef=kl_coef, kl_estimator="k2")
    terms = grouped(seed)
    terms = terms if kl_coef else replace(terms, ref_logp=None)
    old = terms.old_logp
    assert old is not None
    weights = [min(float((change(terms, i, old).detach() / terms.lengths[i]).exp()), cap) for i in range(5)]
    total = sum(float(terms.weights[i]) * weights[i] for i in range(5))

    def rollout(i: int) -> Tensor:
        value = terms.scales[i] * terms.logp[i][terms.mask[i]].sum() / terms.lengths[i]
        loss = -weights[i] / total * terms.advantages[i] * value
        if terms.ref_logp is not None:
            kl = (terms.ref_logp - terms.logp)[i][terms.mask[i]] ** 2 / 2
            loss = loss + kl_coef * kl.sum() / terms.mask[i].sum()
        return loss

    assert_written(terms, config, rollout)


def test_stabledrl_by_hand() -> None:
    """Weights of 2 and 8, the second cut to 4: shares of 1/3 and 2/3, whatever the sign of the advantage."""
    old = torch.tensor([[-3.0], [-3.0]], dtype=torch.float64)
    logp = (old + torch.tensor([[2.0], [8.0]], dtype=torch.float64).log()).requires_grad_()
    halves = torch.tensor([0.5, 0.5], dtype=torch.float64)
    ones = torch.ones(2, dtype=torch.float64)
    terms = Terms(logp, old, None, torch.tensor([1.0, -1.0]), torch.ones(2, 1, dtype=torch.bool), ones, halves, ones)
    output = loss_of(terms, UniGRPOConfig(objective="stabledrl", weight_cap=4.0, kl_coef=0.0))
    output.loss.backward()
    assert logp.grad is not None
    np.testing.assert_allclose(logp.grad.flatten().numpy(), [-1 / 3, 2 / 3], rtol=1e-12)
    assert {name: float(value) for name, value in output.metrics.items()} == {
        "actor/pg_loss": pytest.approx(-float(logp[0, 0]) / 3 + 2 * float(logp[1, 0]) / 3),
        "actor/weight_mean": pytest.approx(3.0),
        "actor/weight_capped": 0.5,
    }


def test_trafl_by_hand() -> None:
    """Changes of 0.2 and 0.6 a token where 1 and -1 were asked for: apart by -0.4, asked for 2, so each is 1.2 off."""
    logp = torch.tensor([[-0.8], [-0.4]], dtype=torch.float64)
    ref = torch.full((2, 1), -1.0, dtype=torch.float64)
    halves, ones = torch.tensor([0.5, 0.5], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    terms = Terms(logp, None, ref, torch.tensor([1.0, -1.0]), torch.ones(2, 1, dtype=torch.bool), ones, halves, ones)
    output = loss_of(terms, UniGRPOConfig(objective="trafl"))
    assert output.loss.item() == pytest.approx(1.2**2)
    assert float(output.metrics["actor/log_z"]) == pytest.approx(-0.4)


@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(1, 4))
def test_parts_with_the_sums_of_all_are_the_whole(name: str, seed: int, cut: int) -> None:
    terms, config = grouped(seed), UniGRPOConfig(objective=name, kl_coef=0.1)
    whole = loss_of(terms, config)
    (expected,) = torch.autograd.grad(whole.loss, terms.logp)
    each = resolve(OBJECTIVES[name].totals)
    parts = [part_of(terms, rows) for rows in (slice(0, cut), slice(cut, 5))]
    sums = sum(sums_by_group(each(part, config), part.groups, 2) for part in parts)
    outputs = [loss_of(replace(part, totals=sums), config) for part in parts]
    (found,) = torch.autograd.grad(torch.stack([output.loss for output in outputs]).sum(), terms.logp)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-9, atol=1e-12)
    for metric, value in whole.metrics.items():
        assert sum(float(output.metrics[metric]) for output in outputs) == pytest.approx(float(value), abs=1e-12)


def part_of(terms: Terms, rows: slice) -> Terms:
    names = ("logp", "old_logp", "ref_logp", "advantages", "mask", "lengths", "weights", "scales", "groups")
    return replace(terms, **{name: getattr(terms, name)[rows] for name in names})


LENGTHS = (3, 9, 2, 14, 1, 6)


def train(name: str, micro: int, ranks: int, of: TrainBatch) -> tuple[dict[str, float], np.ndarray]:
    """Metrics and weights after two inner updates; ranks are threads, and their sums and gradients meet."""
    algorithm = UniGRPOConfig(objective=name, estimator="elbo_antithetic", mu=2, kl_coef=0.05, residual_scale=0.3)
    config, meeting = LearnerConfig(algorithm, lr=1e-2, threads=1, micro_batch_size_per_gpu=micro), Meeting(ranks)

    def one(rank: int) -> tuple[dict[str, float], np.ndarray]:
        policy = bench_policy(SHAPE, 48, seed=1)
        policy.module.double()
        reference = Reference(policy)
        with torch.no_grad():
            for parameter in policy.module.parameters():
                parameter.mul_(1.05)
        try:
            learner = UniGRPOLearner(policy, ThreadEngine(meeting, rank, policy, config), config, reference)
            metrics = learner.update(of).metrics
        except BaseException:
            meeting.leave()
            raise
        return dict(metrics), np.concatenate([value.ravel() for value in learner.weights().values()])

    with ThreadPoolExecutor(ranks) as pool:
        return [each.result() for each in [pool.submit(one, rank) for rank in range(ranks)]][0]


@pytest.mark.parametrize("name", WHOLE)
def test_micro_batches_and_ranks_do_not_matter(name: str) -> None:
    """One micro-batch of one rank, three of it, and two ranks: within 1e-6, with groups that all of them cut."""
    of = replace(batch(LENGTHS, "stratified"), groups=np.array([0, 1, 0, 1, 2, 2]), on_policy=False)
    expected, weights = train(name, 6, 1, of)
    for micro, ranks in ((2, 1), (2, 2)):
        found, theirs = train(name, micro, ranks, of)
        assert np.abs(theirs - weights).max() < 1e-6
        for metric in ("actor/pg_loss", "actor/grad_norm"):
            assert found[metric] == pytest.approx(expected[metric], rel=1e-6)

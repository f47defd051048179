"""Block-causal policies: each block is scored as the sampler sees it, all blocks in one pass."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.policy import FIRST_PLAIN, bench_policy
from benchmarks.speed.rollout import Shape
from policies.generate import generate_text
from policies.policy import MaskedDiffusionPolicy
from rl.config import UniGRPOConfig
from rl.estimators.trajectory import within_blocks
from rl.learner.likelihood import Masked, masked_log_probs, masked_loss, token_values
from rl.learner.microbatches import MicroBatch, collate
from rl.types import LossOutput, MaskDraw, Task, TextSampling, TrainBatch

OWN, PROMPT = 4, 6
SIZES = Shape(d_model=16, n_layers=3, n_heads=2, mlp_hidden_size=24, codebook=0)


@cache
def policy(vocabulary: int = 48) -> MaskedDiffusionPolicy:
    made = bench_policy(SIZES, vocabulary, seed=5, block_length=OWN, qk_norm=True)
    made.module.double()
    with torch.no_grad():
        made.module.ff_out.weight.mul_(4)
    return made


def blockwise(token_ids: Tensor, mask: Tensor) -> Tensor:
    """What the sampler computes: each block with its mask, behind the blocks that were written before it. [L]"""
    values, noisy = torch.zeros(len(token_ids), dtype=torch.float64), token_ids.masked_fill(mask, 0)
    for first in range(0, len(token_ids), OWN):
        shown = torch.cat([token_ids[:first], noisy[first : first + OWN]])
        logp = policy().logits(shown[None])[0, first:].log_softmax(-1)
        values[first : first + OWN] = logp.gather(1, token_ids[first : first + OWN, None]).squeeze(1)
    return torch.where(mask, values, 0.0)


def sequences(lengths: list[int], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """ids [B, L], attention [B, L], mask [B, L]: the mask leaves the first two tokens alone."""
    generator = torch.Generator().manual_seed(seed)
    shape = len(lengths), max(lengths)
    attention = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    mask = (torch.rand(shape, generator=generator) < 0.5) & attention & (torch.arange(shape[1]) >= 2)
    mask[:, 2] = True
    return torch.randint(FIRST_PLAIN, 48, shape, generator=generator), attention, mask


def batch(
    token_ids: list[np.ndarray], step_maps: list[np.ndarray], estimator: str, seed=1, block=None, **options
) -> MicroBatch:
    config, count = UniGRPOConfig(estimator=estimator, **options), len(token_ids)
    made = TrainBatch(
        tuple(token_ids),
        tuple(np.arange(len(row)) >= len(row) - len(steps) for row, steps in zip(token_ids, step_maps, strict=True)),
        np.ones(count, np.float32),
        ((MaskDraw(seed, 0.5),) * count,),
        (Task.TEXT,) * count,
        tuple(step_maps),
    )
    return collate(made, [(i, 1 / count) for i in range(count)], torch.device("cpu"), config, block)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(3, 19), min_size=1, max_size=4), st.integers(0, 10_000))
def test_every_block_sees_what_its_sampler_sees(lengths, seed):
    token_ids, attention, mask = sequences(lengths, seed)
    with torch.no_grad():
        values = masked_log_probs(policy(), Masked(token_ids, attention, mask)).values
        for row, length in enumerate(lengths):
            expected = blockwise(token_ids[row, :length], mask[row, :length])
            torch.testing.assert_close(values[row, :length], expected, rtol=1e-10, atol=1e-10)
            assert not values[row, length:].any()


def test_the_gradient_is_that_of_the_blocks_one_by_one():
    token_ids, _, mask = sequences([15], 3)
    weights = torch.randn(15, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parameters = list(policy().module.parameters())
    ours = masked_log_probs(policy(), Masked(token_ids, None, mask)).values[0]
    for values in (ours, blockwise(token_ids[0], mask[0])):
        gradients = torch.autograd.grad((values * weights).sum(), parameters)
        first = gradients if values is ours else first  # noqa: F821
    for found, expected in zip(first, gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("prompt", [PROMPT, 8, 9])
def test_the_trajectory_is_the_probability_of_what_was_sampled(prompt):
    """Step by step along the sampler's own path: each token given what was on the canvas when it was revealed."""
    ids = np.random.default_rng(prompt).integers(FIRST_PLAIN, 48, prompt)
    sample = generate_text(policy(), [ids.tolist()], TextSampling(12, OWN, 6), [prompt])[0]
    steps, whole = sample.step_map, torch.tensor(np.concatenate([ids, sample.token_ids]))
    expected = 0.0
    for step in np.unique(steps):
        shown, places = whole.clone(), prompt + np.flatnonzero(steps == step)
        shown[prompt:][torch.tensor(steps >= step)] = 0
        with torch.no_grad():
            logp = policy().logits(shown[None])[0].log_softmax(-1)
        expected += float(logp[places, whole[places]].sum())
    for samples in (None, len(np.unique(steps))):
        data = batch([whole.numpy()], [steps], "trajectory", estimator_samples=samples)
        with torch.no_grad():
            values = token_values(policy(), data, 0, UniGRPOConfig(estimator="trajectory")).values
        assert float(values.sum()) == pytest.approx(expected, rel=1e-9)


def test_over_all_responses_the_exact_likelihood_sums_to_one():
    """A vocabulary of four, responses of five tokens over three blocks: 1,024 of them."""
    small = policy(4)
    prompt, responses = [1, 2, 3], list(itertools.product(range(4), repeat=5))
    rows = [np.array([*prompt, *response]) for response in responses]
    data = batch(rows, [np.zeros(5, np.int32)] * len(rows), "left_to_right")
    with torch.no_grad():
        values = token_values(small, data, 0, UniGRPOConfig(estimator="left_to_right")).values
    likelihoods = values.sum(1).exp()
    assert float(likelihoods.sum()) == pytest.approx(1, abs=1e-6)
    assert likelihoods.max() > 10 * likelihoods.min()


@pytest.mark.parametrize("block_length", [None, OWN])
def test_a_loss_in_chunks_hides_what_its_pass_hides(block_length):
    """One random group of the trajectory: what comes after it is hidden, and is not scored."""
    ids = np.random.default_rng(0).integers(FIRST_PLAIN, 48, 14)
    config = UniGRPOConfig(estimator="trajectory", estimator_samples=1)
    made = bench_policy(SIZES, 48, seed=5, block_length=block_length)
    data = batch([ids], [np.array([0, 1, 0, 1, 2, 2, 3, 3])], "trajectory", seed=4, estimator_samples=1)
    assert (data.hidden[0, 0] & ~data.masks[0]).any()
    found = []

    def loss(logp: Tensor) -> LossOutput:
        found.append(logp.detach())
        return LossOutput(-logp.sum(), {})

    masked_loss(made, data, 0, 1e-4, loss)
    with torch.no_grad():
        expected = token_values(made, data, 0, config).values / data.term_weights[0].amax(0).clamp(min=1)
    torch.testing.assert_close(found[-1], expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 17), st.integers(1, 19), st.integers(0, 10_000))
def test_all_blocks_in_one_pass_are_the_same_trajectory(prompt, length, seed):
    """Also where the prompt ends within a block, and whatever the steps are: values and gradients, in no more passes than a
    block has tokens."""
    chance = np.random.default_rng(seed)
    whole, steps = chance.integers(FIRST_PLAIN, 48, prompt + length), chance.integers(0, 2 * length, length)
    parameters, found = list(policy().module.parameters()), []
    for block in (None, OWN):
        data = batch([whole], [steps], "trajectory", block=block)
        values = token_values(policy(), data, 0, UniGRPOConfig(estimator="trajectory")).values
        found.append((values, *torch.autograd.grad(values.sin().sum(), parameters)))
        passes = data.hidden.shape[1]
    assert passes <= OWN
    for one_by_one, together in zip(*found, strict=True):
        torch.testing.assert_close(together, one_by_one, rtol=1e-8, atol=1e-10)


def test_steps_count_within_blocks():
    steps, at = np.array([9, 4, 4, 8, 2, 2, 3, 1]), np.arange(3, 11)
    assert within_blocks(steps, at, 4).tolist() == [0, 1, 1, 2, 0, 1, 2, 0]  # blocks of 1, 4 and 3 tokens
    assert within_blocks(steps, at, 100).tolist() == np.unique(steps, return_inverse=True)[1].tolist()
    assert within_blocks(np.array([7]), np.array([5]), 4).tolist() == [0]

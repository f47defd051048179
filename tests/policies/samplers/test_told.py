"""How sure the policy was of each token when it was revealed: against the plain definition, state by state."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from benchmarks.policy import FIRST_PLAIN, bench_policy
from benchmarks.speed.rollout import Shape
from policies.generate import rollout_group
from policies.infill import infill_image
from policies.policy import MaskedDiffusionPolicy
from policies.samplers import REMASKING
from policies.samplers.text import sample_text
from policies.samplers.tokens import FREE
from rl.types import ImageSampling, Rollout, Sample, TextSampling, ThinkDrawSampling
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt, toy_think_draw_prompt

SIZES = Shape(d_model=32, n_layers=2, n_heads=4, mlp_hidden_size=48, codebook=0)
TEXT = TextSampling(max_new_tokens=16, block_length=8, steps=8, logits_eos_inf=True)
IMAGE = ImageSampling(steps=5, guidance=1.5)
SEEDS = [3, 4, 5]


@cache
def policy(own: int | None = None) -> MaskedDiffusionPolicy:
    made = bench_policy(SIZES, 64, seed=2, block_length=own)
    with torch.no_grad():
        made.module.ff_out.weight.mul_(4)  # sure enough for thresholds to matter
    return made


def expected(made: MaskedDiffusionPolicy, prefix: list[int], sample: Sample, temperature: float = 1.0) -> np.ndarray:
    """[L, 2] probability and entropy of each token, from whole logits of the state before the step that revealed it."""
    vocabulary, found = made.vocabulary, np.full((len(sample.token_ids), 2), -1.0)
    for step in sorted({*sample.step_map.tolist()} - {-1}):
        ids = np.where(sample.step_map >= step, vocabulary.mask_id, sample.token_ids)
        with torch.no_grad():
            logits = made.logits(torch.tensor([[*prefix, *ids.tolist()]]))[0, len(prefix) :].double() / temperature
        logits[:, [vocabulary.mask_id, vocabulary.eos_id]] = -torch.inf
        p = logits.softmax(-1)
        for place in np.flatnonzero(sample.step_map == step):
            own = p[place]
            found[place] = float(own[sample.token_ids[place]]), float(torch.special.entr(own).sum())
    return found


def told(sample: Sample | Rollout) -> np.ndarray:
    assert sample.confidence is not None and sample.entropy is not None
    assert sample.confidence.dtype == sample.entropy.dtype == np.float32
    assert sample.confidence.shape == sample.entropy.shape == sample.token_ids.shape
    return np.stack([sample.confidence, sample.entropy], axis=1)


@pytest.mark.parametrize(
    ("own", "more"),
    [
        *((None, {"remasking": name}) for name in REMASKING),
        (None, {"confidence_threshold": 0.05, "steps": 16}),
        (None, {"temperature": 0.0}),
        (None, {"temperature": 0.7, "top_k": 9, "top_p": 0.9}),
        (None, {"schedule": "dream", "remask_temperature": 0.5}),
        (None, {"confidence": "drawn", "temperature": 0.7}),
        (4, {}),
        (4, {"confidence_threshold": 0.05, "steps": 16}),
    ],
)
def test_they_are_those_of_the_state_that_the_step_saw(own: int | None, more: dict) -> None:
    made, prefix = policy(own), list(range(FIRST_PLAIN, FIRST_PLAIN + 8))
    sampling = replace(TEXT, **more)
    drawn = sampling.temperature if sampling.confidence == "drawn" else 1.0
    for sample in sample_text(made, prefix, sampling, SEEDS):
        np.testing.assert_allclose(told(sample), expected(made, prefix, sample, drawn), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("kept", ["prefix", "dual"])
def test_with_a_cache_a_blocks_first_step_is_exact_and_all_are_told(kept: str) -> None:
    made, prefix = policy(), list(range(FIRST_PLAIN, FIRST_PLAIN + 8))
    for sample in sample_text(made, prefix, replace(TEXT, cache=kept), SEEDS):
        found, first = told(sample), np.isin(sample.step_map, (0, 4))
        np.testing.assert_allclose(found[first], expected(made, prefix, sample)[first], rtol=2e-4, atol=1e-5)
        assert (found[:, 0] > 0).all() and (found[:, 0] <= 1).all() and (found[:, 1] > 0).all()


def test_a_given_token_has_none_and_a_text_that_ended_has_no_more_than_its_tokens() -> None:
    made, given = policy(), [FREE, 20, FREE, FREE, 21, FREE, FREE, FREE]
    for sample in sample_text(made, [20, 21], TEXT, SEEDS, given=given):
        np.testing.assert_allclose(told(sample), expected(made, [20, 21], sample), rtol=2e-4, atol=1e-5)
        assert ((told(sample) == -1).all(1) == (np.array(given) != FREE)).all()
    ending = toy_policy()
    with torch.no_grad():
        ending.module.ff_out.weight[ending.vocabulary.eos_id] *= 3
    group = rollout_group(ending, toy_text_prompt(), replace(TEXT, logits_eos_inf=False), list(range(12)), 0)
    assert len({len(rollout.token_ids) for rollout in group}) > 1
    for rollout in group:
        assert ((told(rollout)[:, 0] > 0) == rollout.response_mask).all()
        assert (told(rollout)[~rollout.response_mask] == -1).all()


def test_a_drawing_and_a_plan_before_one() -> None:
    made = toy_policy()
    offset, size = made.vocabulary.image_offset, made.vocabulary.codebook_size
    rollout = rollout_group(made, toy_draw_prompt(), replace(IMAGE, guidance=0.0), SEEDS, 0)[1]
    found, steps, written = told(rollout), rollout.step_map, rollout.response_mask
    for step in sorted({*steps[written].tolist()}):
        ids = torch.tensor(np.where(written & (steps >= step), made.vocabulary.mask_id, rollout.token_ids))
        with torch.no_grad():
            p = made.logits(ids[None])[0, :, offset : offset + size].double().softmax(-1)
        for place in np.flatnonzero(steps == step):
            own = p[place]
            wanted = float(own[int(rollout.token_ids[place]) - offset]), float(torch.special.entr(own).sum())
            np.testing.assert_allclose(found[place], wanted, rtol=2e-4, atol=1e-5)
    both = ThinkDrawSampling(replace(TEXT, logits_eos_inf=False), IMAGE)
    for rollout in rollout_group(made, toy_think_draw_prompt(), both, SEEDS, 0):
        assert ((told(rollout)[:, 0] >= 0) == rollout.response_mask).all()
        assert ((told(rollout)[:, 1] >= 0) == rollout.response_mask).all()


def test_a_picture_that_is_given_in_part() -> None:
    given = [FREE if place % 3 else 5 for place in range(16)]
    (sample,) = infill_image(toy_policy(), [toy_draw_prompt()], [given], IMAGE, [7])
    assert ((told(sample) == -1).all(1) == (np.array(given) != FREE)).all()


def test_members_without_noise_are_alike_and_have_arrays_of_their_own() -> None:
    one, other = sample_text(policy(), [20, 21], replace(TEXT, temperature=0.0), [1, 2])
    assert (told(one) == told(other)).all()
    assert one.confidence is not other.confidence and one.entropy is not other.entropy

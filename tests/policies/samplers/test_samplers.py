"""Samplers: the plain algorithm's tokens without its waste, and nothing but (weights, prompt, seed, sampling)."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.policy import bench_policy
from benchmarks.speed.rollout import Shape
from policies.base import EncodedPrompt
from policies.generate import generate_image, generate_text, rollout_group
from policies.network.rows import Rows
from policies.noise import uniforms
from policies.samplers.image import Predictor
from policies.samplers.schedules import masked_counts, uniform_counts
from policies.samplers.tokens import sample_tokens
from rl.errors import DataError
from rl.types import ImageSampling, Message, RolloutStatus, TextSampling
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt, toy_understand_prompt

POLICY = toy_policy()
TEXT = TextSampling(max_new_tokens=16, block_length=8, steps=8, temperature=1.0)
IMAGE = ImageSampling(steps=5, guidance=1.5)
BENCH = Shape(d_model=32, n_layers=2, n_heads=2, mlp_hidden_size=64, codebook=64)


def plain_greedy(policy, prompt: list[int], sampling: TextSampling) -> tuple[list[int], list[int]]:
    """LLaDA's algorithm as its paper words it: whole logits, one row, a Python loop."""
    mask_id, start = policy.vocabulary.mask_id, len(prompt)
    ids = torch.tensor([[*prompt, *[mask_id] * sampling.max_new_tokens]])
    revealed = [-1] * sampling.max_new_tokens
    blocks = sampling.max_new_tokens // sampling.block_length
    steps = sampling.steps // blocks
    for block in range(blocks):
        first = start + block * sampling.block_length
        for step in range(steps):
            logits = policy.logits(ids)[0]
            logits[:, mask_id] = -torch.inf
            surest, token = logits.softmax(-1).max(-1)
            masked = [i for i in range(first, first + sampling.block_length) if ids[0, i] == mask_id]
            for position in sorted(masked, key=lambda i: -surest[i].item())[: sampling.block_length // steps]:
                ids[0, position] = token[position]
                revealed[position - start] = block * steps + step
    response = ids[0, start:].tolist()
    length = response.index(policy.vocabulary.eos_id) + 1 if policy.vocabulary.eos_id in response else len(response)
    return response[:length], revealed[:length]


@pytest.mark.parametrize("index", range(6))
def test_greedy_text_equals_the_plain_algorithm(index):
    prompt = list(POLICY.encode_prompt(toy_text_prompt(index)).prefix)
    sampling = replace(TEXT, temperature=0.0)
    with torch.no_grad():
        tokens, revealed = plain_greedy(POLICY, prompt, sampling)
    sample = generate_text(POLICY, [prompt], sampling, [index])[0]
    assert sample.token_ids.tolist() == tokens
    assert sample.step_map.tolist() == revealed


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 2**62), min_size=2, max_size=6, unique=True), st.sampled_from([TEXT, IMAGE]))
def test_a_rollout_does_not_depend_on_its_batch_mates(seeds, sampling):
    prompt = toy_text_prompt(1) if sampling is TEXT else toy_draw_prompt(1)
    together = rollout_group(POLICY, prompt, sampling, seeds, 0)
    backwards = rollout_group(POLICY, prompt, sampling, seeds[::-1], 0)[::-1]
    alone = [rollout_group(POLICY, prompt, sampling, [seed], 0)[0] for seed in seeds]
    for first, second, third in zip(together, backwards, alone, strict=True):
        assert first.token_ids.tolist() == second.token_ids.tolist() == third.token_ids.tolist()
        assert first.step_map.tolist() == second.step_map.tolist() == third.step_map.tolist()


def test_prompts_of_other_lengths_do_not_change_a_response():
    prompts = [list(POLICY.encode_prompt(toy_text_prompt(index)).prefix) for index in (1, 1, 123456, 7)]
    together = generate_text(POLICY, prompts, TEXT, [5, 6, 7, 8])
    for prompt, seed, sample in zip(prompts, [5, 6, 7, 8], together, strict=True):
        assert generate_text(POLICY, [prompt], TEXT, [seed])[0].token_ids.tolist() == sample.token_ids.tolist()


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    first = rollout_group(POLICY, toy_text_prompt(), TEXT, [1, 2], 0)
    again = rollout_group(POLICY, toy_text_prompt(), TEXT, [1, 2], 0)
    assert [r.token_ids.tolist() for r in first] == [r.token_ids.tolist() for r in again]
    assert first[0].token_ids.tolist() != first[1].token_ids.tolist()


def test_text_ends_at_its_first_end_of_text_and_never_holds_a_mask():
    policy = toy_policy()
    eos = policy.vocabulary.eos_id
    with torch.no_grad():
        policy.module.ff_out.weight[eos] *= 3  # make endings common
    samples = rollout_group(policy, toy_text_prompt(), TEXT, list(range(40)), 0)
    ended = [r for r in samples if r.status is RolloutStatus.COMPLETE]
    assert len(ended) > 0
    for rollout in samples:
        response = rollout.token_ids[rollout.response_mask]
        assert policy.vocabulary.mask_id not in response
        assert eos not in response[:-1]
        assert (response[-1] == eos) == (rollout.status is RolloutStatus.COMPLETE)
        assert (rollout.step_map[rollout.response_mask] >= 0).all()
        assert (rollout.step_map[~rollout.response_mask] == -1).all()


def test_an_ended_sequence_leaves_without_changing_the_others():
    policy = toy_policy()
    with torch.no_grad():
        policy.module.ff_out.weight[policy.vocabulary.eos_id] *= 3
    seeds = list(range(12))
    group = rollout_group(policy, toy_text_prompt(), TEXT, seeds, 0)
    assert len({len(rollout.token_ids) for rollout in group}) > 1
    for seed, rollout in zip(seeds, group, strict=True):
        assert rollout_group(policy, toy_text_prompt(), TEXT, [seed], 0)[0].token_ids.tolist() == (
            rollout.token_ids.tolist()
        )


def test_a_drawing_is_complete_and_decodes_to_its_picture():
    rollout = rollout_group(POLICY, toy_draw_prompt(), IMAGE, [3], 0)[0]
    codes = rollout.token_ids[rollout.response_mask] - POLICY.vocabulary.image_offset
    assert len(codes) == 16 and codes.min() >= 0 and codes.max() < POLICY.vocabulary.codebook_size
    assert POLICY.image_tokenizer is not None and rollout.image is not None
    np.testing.assert_array_equal(rollout.image, POLICY.image_tokenizer.decode(codes[None])[0])
    assert generate_image(POLICY, [toy_draw_prompt()], IMAGE, [3])[0].token_ids.tolist() == codes.tolist()


def test_guidance_mixes_the_two_predictions():
    """At one step and temperature 0 the codes are the argmax of (1 + w) conditional - w unconditional."""
    prompt = POLICY.encode_prompt(toy_draw_prompt())
    sample = generate_image(POLICY, [prompt], ImageSampling(steps=1, guidance=2.0, temperature=0.0), [0])[0]

    def whole(prefix):
        ids = torch.tensor([[*prefix, *[POLICY.vocabulary.mask_id] * 16, *prompt.suffix]])
        logits = POLICY.logits(ids)[0, len(prefix) : len(prefix) + 16]
        return logits[:, POLICY.vocabulary.image_offset :][:, : POLICY.vocabulary.codebook_size]

    with torch.no_grad():
        expected = (3 * whole(prompt.prefix) - 2 * whole(prompt.unconditional)).argmax(-1)
    assert sample.token_ids.tolist() == expected.tolist()


def test_understanding_sees_the_picture():
    first, second = toy_understand_prompt(1), replace(toy_understand_prompt(1), image=toy_understand_prompt(2).image)
    assert POLICY.encode_prompt(first).prefix != POLICY.encode_prompt(second).prefix


@given(st.integers(1, 200), st.integers(1, 50))
def test_reveal_counts_add_up_and_are_even(length, steps):
    counts = uniform_counts(length, steps)
    assert sum(counts) == length and max(counts) - min(counts) <= 1 and counts == sorted(counts, reverse=True)


@given(st.integers(1, 200), st.integers(1, 60), st.sampled_from(["cosine", "linear"]))
def test_masked_counts_fall_to_zero(length, steps, schedule):
    counts = [length, *masked_counts(length, ImageSampling(steps=steps, schedule=schedule))]
    assert counts[-1] == 0
    assert all(after < before or before == 0 for before, after in zip(counts, counts[1:], strict=False))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.5, 1.0, 2.0]))
def test_draws_follow_the_tempered_softmax(seed, temperature):
    logits = torch.randn(6, generator=torch.Generator().manual_seed(seed)) * 2
    count = 20_000
    noise = uniforms([seed], 0, torch.arange(count))[0]
    tokens, probability = sample_tokens(logits.repeat(count, 1), noise, temperature)
    expected = (logits / temperature).softmax(-1)
    share = torch.bincount(tokens, minlength=6) / count
    assert (share - expected).abs().max() < 5 * (0.25 / count) ** 0.5
    torch.testing.assert_close(probability, logits.softmax(-1)[tokens])


# What these seeds wrote before samplers took thresholds, gaps and packed weights: speed and options move no token.
GOLDEN = [
    (
        toy_text_prompt(3), TextSampling(16, 8, 8), 8,
        [42, 170, 174, 210, 68, 348, 184, 54, 219, 219, 287, 283, 231, 68, 339, 231],
        [3, 0, 2, 0, 1, 3, 1, 2, 6, 6, 7, 7, 5, 4, 5, 4],
    ),
    (
        toy_text_prompt(4), TextSampling(16, 8, 12, 0.7, "random"), 8,
        [68, 281, 162, 87, 246, 7, 324, 184, 89, 243, 221, 270, 108, 224, 146, 248],
        [0, 5, 2, 1, 0, 1, 3, 4, 11, 6, 9, 7, 10, 7, 6, 8],
    ),
    (
        toy_draw_prompt(3), IMAGE, 8,
        [300, 305, 320, 333, 313, 332, 353, 352, 320, 320, 300, 320, 300, 309, 321, 312],
        [0, 4, 2, 3, 4, 4, 3, 3, 1, 2, 1, 2, 1, 4, 3, 3],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("prompt", "sampling", "seed", "tokens", "revealed"), GOLDEN)
def test_a_seed_writes_what_it_always_wrote(prompt, sampling, seed, tokens, revealed):
    rollout = rollout_group(POLICY, prompt, sampling, [7, seed], 0)[1]
    assert rollout.token_ids[rollout.response_mask].tolist() == tokens
    assert rollout.step_map[rollout.response_mask].tolist() == revealed


def test_greedy_text_is_what_llada_s_own_generate_wrote():
    """20 prompts of 1 to 39 tokens; how the numbers were made is in their file."""
    policy = bench_policy(BENCH, 256, seed=3)
    with torch.no_grad():
        for parameter in policy.module.parameters():
            parameter.mul_(1.5 if parameter.dim() > 1 else 1)
    rows = json.loads((Path(__file__).parents[1] / "golden" / "llada_generate.json").read_text())["rows"]
    assert len(rows) == 20
    for row in rows:
        sampling = TextSampling(32, row["block_length"], row["steps"], temperature=0.0)
        assert generate_text(policy, [row["prompt"]], sampling, [0])[0].token_ids.tolist() == row["response"]


@pytest.mark.parametrize("caption", [1, 5, 20])
def test_guided_logits_are_mmada_s_within_rounding(caption):
    """t2i_generate pads on the left, masks the padding, and mixes whole logits of both; ours mixes rows without padding."""
    policy, mask_id, offset = bench_policy(BENCH, 256), 0, 192
    prompt = EncodedPrompt((2, 3, *range(20, 20 + caption), 4, 5), (6,), (2, 3, 4, 5), 16)
    generator = torch.Generator().manual_seed(caption)
    codes = torch.randint(offset, 256, (3, 16), generator=generator)
    codes[torch.rand(3, 16, generator=generator) < 0.6] = mask_id

    def whole(prefix: tuple[int, ...]) -> torch.Tensor:
        padded = torch.tensor([[*[7] * (30 - len(prefix)), *prefix]]).expand(3, -1)
        ids = torch.cat([padded, codes, torch.full((3, 1), 6)], dim=1)
        return policy.logits(ids, ids != 7)

    with torch.no_grad():
        mixed = (4.5 * whole(prompt.prefix) - 3.5 * whole(prompt.unconditional))[:, 30:46, offset:]
        predict = Predictor(policy, prompt, None, 3.5, torch.device("cpu"))
        predict.untouched = False
        found = predict(codes, Rows.of(codes == mask_id))
    torch.testing.assert_close(found, mixed[codes == mask_id], rtol=0, atol=1e-4)


def test_a_prompt_that_leaves_no_room_for_its_response_is_refused():
    prompt = toy_text_prompt()
    length = len(POLICY.encode_prompt(prompt).prefix)
    room = POLICY.max_length - length
    with pytest.raises(DataError, match=rf"{length} tokens and max_new_tokens={room + 8}, but toy takes 128; shorten"):
        rollout_group(POLICY, prompt, TextSampling(room + 8, room + 8, 1), [0], 0)
    assert len(rollout_group(POLICY, prompt, TextSampling(room, room, 1), [0], 0)) == 1
    with pytest.raises(DataError, match=r"prompt x{57}\.\.\.: \d+ tokens with its response"):
        POLICY.encode_prompt(replace(prompt, id="x" * 200, messages=(Message("user", "7 " * 200),)))

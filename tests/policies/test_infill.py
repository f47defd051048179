"""Infilling: what is given stays, what is free is written, and only that is trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import policies
from policies.generate import rollout_group
from policies.infill import masked_codes, parse_template
from policies.samplers.tokens import FREE
from rl.errors import DataError
from rl.types import ImageSampling, TextSampling
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt, toy_think_draw_prompt, toy_understand_prompt

POLICY = toy_policy()
VOCABULARY = POLICY.vocabulary
TEXT = TextSampling(max_new_tokens=16, block_length=8, steps=8)
IMAGE = ImageSampling(steps=4, guidance=1.5)
PLAIN = st.integers(20, 200)  # no special token


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.one_of(st.just(FREE), PLAIN), min_size=1, max_size=20).filter(lambda canvas: FREE in canvas),
    st.integers(0, 2**40),
    st.sampled_from([None, 0.02]),
)
def test_given_tokens_stay_and_free_ones_are_written(canvas, seed, threshold):
    sampling = TextSampling(16, 8, 8, confidence_threshold=threshold)
    prefix = list(POLICY.encode_prompt(toy_text_prompt()).prefix)
    sample = policies.infill_text(POLICY, [prefix], [canvas], sampling, [seed])[0]
    last = max((place for place, token in enumerate(canvas) if token != FREE), default=0)
    assert last < len(sample.token_ids) <= len(canvas)  # an end of text comes after all that is given
    for place, token in enumerate(sample.token_ids):
        assert token != VOCABULARY.mask_id
        assert (sample.step_map[place] == -1) == (canvas[place] != FREE)
        assert canvas[place] in (FREE, token)


def plain_infill(prefix: list[int], canvas: list[int]) -> list[int]:
    """Greedy, one block, one token a step, in words."""
    mask_id = VOCABULARY.mask_id
    ids = [*prefix, *(mask_id if token == FREE else token for token in canvas)]
    ends_before = len(prefix) + max(place for place, token in enumerate(canvas) if token != FREE)
    while mask_id in ids:
        with torch.no_grad():
            logits = POLICY.logits(torch.tensor([ids]))[0]
        logits[:, mask_id] = logits[:ends_before, VOCABULARY.eos_id] = -torch.inf
        surest, token = logits.softmax(-1).max(-1)
        place = max((i for i, current in enumerate(ids) if current == mask_id), key=lambda i: surest[i].item())
        ids[place] = int(token[place])
    return ids[len(prefix) :]


@pytest.mark.parametrize("canvas", [[FREE] * 3 + [50, 60] + [FREE] * 3, [50, FREE, 60, FREE, 70, FREE, FREE, 80]])
def test_greedy_infilling_is_the_plain_algorithm(canvas):
    prefix = list(POLICY.encode_prompt(toy_text_prompt()).prefix)
    sampling = TextSampling(8, 8, 8, temperature=0.0)
    expected = plain_infill(prefix, canvas)
    found = policies.infill_text(POLICY, [prefix], [canvas], sampling, [0])[0].token_ids.tolist()
    assert found == expected[: len(found)]


def test_a_given_end_of_text_ends_the_text():
    canvas = [FREE, FREE, VOCABULARY.eos_id, FREE]
    sample = policies.infill_text(POLICY, [[20, 21]], [canvas], TEXT, [1])[0]
    assert len(sample.token_ids) == 3 and sample.complete


def test_what_is_given_changes_what_is_written():
    prefix = list(POLICY.encode_prompt(toy_text_prompt()).prefix)
    canvases = [[FREE] * 6 + [token] * 2 for token in (40, 90)]
    first, second = policies.infill_text(POLICY, [prefix] * 2, canvases, TEXT, [1, 1])
    assert first.token_ids[:6].tolist() != second.token_ids[:6].tolist()


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.booleans(), min_size=16, max_size=16).filter(any),
    st.integers(0, 2**40),
    st.sampled_from([0.0, 1.5]),
)
def test_given_codes_stay_and_free_ones_are_drawn(free, seed, guidance):
    codes = [FREE if hole else (7 * place) % 64 for place, hole in enumerate(free)]
    sampling = ImageSampling(steps=4, guidance=guidance)
    sample = policies.infill_image(POLICY, [toy_draw_prompt()], [codes], sampling, [seed])[0]
    assert ((sample.step_map == -1) == ~np.array(free)).all()
    assert all(code in (FREE, drawn) for code, drawn in zip(codes, sample.token_ids.tolist(), strict=True))
    assert sample.token_ids.min() >= 0 and sample.token_ids.max() < VOCABULARY.codebook_size


def test_only_what_was_chosen_is_trained_on():
    text = [FREE, FREE, 50, 60, FREE]
    understood = rollout_group(POLICY, toy_understand_prompt(), TEXT, [1, 2], 0, given=text)
    drawn = rollout_group(POLICY, toy_draw_prompt(), IMAGE, [1, 2], 0, given=[FREE] * 4 + [9] * 12)
    for rollout in (*understood, *drawn):
        assert ((rollout.step_map >= 0) == rollout.response_mask).all()
    assert all(rollout.response_mask.sum() == 4 for rollout in drawn)
    assert all(50 in rollout.token_ids[~rollout.response_mask] for rollout in understood)


def test_a_template_says_what_is_free():
    ids = parse_template(POLICY, "a red [mask:3]circle[mask:1]")
    encode = POLICY.tokenizer.encode
    assert ids == [*encode("a red "), FREE, FREE, FREE, *encode("circle"), FREE]


def test_a_mask_of_pixels_frees_the_patches_that_it_touches():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mask = np.zeros((32, 32), dtype=bool)
    mask[9, 30] = True  # row 1, column 3 of the 4 x 4 patches
    assert POLICY.image_tokenizer is not None
    codes = masked_codes(POLICY.image_tokenizer, pixels, mask)
    assert codes[7] == FREE and codes.count(FREE) == 1
    kept = POLICY.image_tokenizer.encode(pixels[None])[0]
    assert all(code == kept[place] for place, code in enumerate(codes) if place != 7)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([50, 60], "nothing to fill"),
        ([FREE, 10**6], r"given\[1\]=1000000: allowed: the vocabulary's 0\.\."),
        ([FREE, VOCABULARY.mask_id], "is the mask token"),
        ([FREE] * 1000, "takes 128; shorten it"),
    ],
)
def test_what_cannot_be_filled_is_told(given, message):
    with pytest.raises(DataError, match=message):
        rollout_group(POLICY, toy_text_prompt(), TEXT, [0], 0, given=given)


def test_what_cannot_be_drawn_is_told():
    with pytest.raises(DataError, match="3 codes given, but an image has 16"):
        rollout_group(POLICY, toy_draw_prompt(), IMAGE, [0], 0, given=[FREE] * 3)
    with pytest.raises(DataError, match=r"given\[0\]=64: allowed: the codebook's 0\.\.63"):
        policies.infill_image(POLICY, [toy_draw_prompt()], [[64] + [FREE] * 15], IMAGE, [0])
    with pytest.raises(DataError, match="think_draw response cannot be given in part"):
        rollout_group(POLICY, toy_think_draw_prompt(), IMAGE, [0], 0, given=[FREE])
    with pytest.raises(DataError, match="write .mask:N."):
        parse_template(POLICY, "no hole")

"""Settings that users of the field expect: which tokens may be drawn, which are revealed first, and how many at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.families.registry import FAMILIES
from policies.generate import rollout_group
from policies.noise import uniforms
from policies.samplers import REMASKING
from policies.samplers.habits import Habits
from policies.samplers.text import sample_text
from policies.samplers.tokens import candidates, penalise_repetition, sample_tokens, truncate
from rl.types import ImageSampling, TextSampling, ThinkDrawSampling
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt, toy_think_draw_prompt

POLICY = toy_policy(scale=0.6)
TEXT = TextSampling(max_new_tokens=16, block_length=8, steps=8)
TEXTS = [
    TEXT,
    replace(TEXT, confidence_threshold=0.02),
    replace(TEXT, remasking="entropy", top_p=0.8),
    replace(TEXT, remasking="margin", top_k=5, temperature=0.7),
    replace(TEXT, remasking="random", repetition_penalty=1.5),
    replace(TEXT, remasking="origin"),
    replace(TEXT, remasking="origin", schedule="dream", temperature=0.0),
    replace(TEXT, remasking="entropy", remask_temperature=0.3, confidence="drawn", temperature=0.6, top_p=0.8),
    replace(TEXT, temperature=0.0, remask_temperature=0.5, confidence_eos_eot_inf=True),
    replace(TEXT, cfg_scale=1.0, logits_eos_inf=True),
]
IMAGES = [ImageSampling(steps=5, guidance=1.5, remasking=kind, top_p=0.9) for kind in REMASKING if kind != "origin"]
PLANNED = [ThinkDrawSampling(TEXTS[0], IMAGES[0]), ThinkDrawSampling(TEXTS[1], replace(IMAGES[0], guidance=0.0))]


@settings(max_examples=24, deadline=None)
@given(
    st.lists(st.integers(0, 2**62), min_size=2, max_size=5, unique=True),
    st.sampled_from([*TEXTS, *IMAGES, *PLANNED]),
    st.integers(0, 50),
    st.randoms(use_true_random=False),
)
def test_no_sampler_sees_its_batch_mates(seeds, sampling, index, random):
    """Whatever the group's size and order, and whichever copy of the policy serves it, a seed writes the same tokens."""
    make = {TextSampling: toy_text_prompt, ImageSampling: toy_draw_prompt, ThinkDrawSampling: toy_think_draw_prompt}
    prompt = make[type(sampling)](index)
    together = dict(zip(seeds, rollout_group(POLICY, prompt, sampling, seeds, 0), strict=True))
    shuffled = random.sample(seeds, len(seeds))
    part = shuffled[: random.randint(1, len(seeds))]
    for seed, rollout in zip(part, rollout_group(POLICY.with_frozen_copy(), prompt, sampling, part, 0), strict=True):
        assert rollout.token_ids.tolist() == together[seed].token_ids.tolist()
        assert rollout.step_map.tolist() == together[seed].step_map.tolist()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sampling", TEXTS)
def test_no_habit_of_a_family_sees_batch_mates(family, sampling):
    policy = toy_policy(scale=0.6)
    policy.habits = FAMILIES[family].habits
    together = rollout_group(policy, toy_text_prompt(2), sampling, [5, 6, 7], 0)
    for seed, rollout in zip([7, 5], [together[2], together[0]], strict=True):
        alone = rollout_group(policy, toy_text_prompt(2), sampling, [seed], 0)[0]
        assert alone.token_ids.tolist() == rollout.token_ids.tolist()
        assert alone.step_map.tolist() == rollout.step_map.tolist()


@pytest.mark.parametrize("threshold", [None, 0.9])
@pytest.mark.parametrize("remasking", REMASKING)
def test_no_mask_is_left_where_no_candidate_is_sure(monkeypatch, remasking, threshold):
    """Nearly every candidate is the end of text, of which the policy counts as never sure: its certainty is 0."""
    policy = toy_policy(scale=0.6)
    plain = policy.head

    def ending(hidden, image):
        logits = plain(hidden, image=image).clone()
        logits[:, policy.vocabulary.eos_id] += 4
        return logits

    monkeypatch.setattr(policy, "head", ending)
    sampling = replace(TEXT, remasking=remasking, confidence_threshold=threshold, confidence_eos_eot_inf=True)
    for noise in (0.0, 0.5):
        for sample in sample_text(policy, [2, 3], replace(sampling, remask_temperature=noise), range(24)):
            assert policy.vocabulary.mask_id not in sample.token_ids


MASKED = Habits(confidence="drawn", mask_counts=True)


def test_a_token_that_is_never_written_counts_in_the_confidence():
    logits, order = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.6, 0.3]]).log(), torch.zeros(2)
    greedy = TextSampling(8, 8, 8, temperature=0.0)
    found = candidates(logits, order, order, greedy, MASKED, never=0)
    assert found.tokens.tolist() == [1, 1]
    torch.testing.assert_close(found.certainty, torch.tensor([0.25, 0.6]))
    # The nucleus of the first row is that token alone: the others are drawn from, and are not sure at all.
    drawn = TextSampling(8, 8, 8, temperature=1.0, top_p=0.5)
    found = candidates(logits, torch.tensor([0.9, 0.9]), order, drawn, MASKED, never=0)
    assert found.tokens.tolist() == [2, 1] and found.certainty.tolist() == [0.0, 1.0]
    assert logits.isfinite().all()


def test_the_nucleus_can_be_cut_first():
    p = torch.tensor([[0.4, 0.1, 0.3, 0.2]])
    # top_k first: 0.4 / 0.7 is more than 0.55. top_p first: 0.4 is less, so that the second stays.
    assert (truncate(p, top_k=2, top_p=0.55) > 0).tolist() == [[True, False, False, False]]
    assert (truncate(p, top_k=2, top_p=0.55, top_p_first=True) > 0).tolist() == [[True, False, True, False]]


def plain_threshold(policy, prefix: list[int], sampling: TextSampling) -> tuple[list[int], int]:
    """Fast-dLLM's parallel decoding in words: in each step every token at least that sure, and at least one."""
    mask_id, ids, steps = policy.vocabulary.mask_id, list(prefix), 0
    ids += [mask_id] * sampling.max_new_tokens
    for first in range(len(prefix), len(ids), sampling.block_length):
        block = range(first, first + sampling.block_length)
        while any(ids[i] == mask_id for i in block):
            with torch.no_grad():
                logits = policy.logits(torch.tensor([ids]))[0]
            logits[:, mask_id] = -torch.inf
            surest, token = logits.softmax(-1).max(-1)
            masked = sorted((i for i in block if ids[i] == mask_id), key=lambda i: -surest[i].item())
            for place in [i for i in masked if surest[i] >= sampling.confidence_threshold] or masked[:1]:
                ids[place] = int(token[place])
            steps += 1
    return ids[len(prefix) :], steps


@pytest.mark.parametrize("index", range(4))
def test_with_a_threshold_text_is_fast_dllms(index):
    policy = toy_policy(scale=1.6)
    prefix = list(policy.encode_prompt(toy_text_prompt(index)).prefix)
    sampling = TextSampling(16, 8, 16, temperature=0.0, confidence_threshold=0.1)
    expected, steps = plain_threshold(policy, prefix, sampling)
    sample = sample_text(policy, prefix, sampling, [0])[0]
    assert sample.token_ids.tolist() == expected[: len(sample.token_ids)]
    assert len(set(sample.step_map.tolist())) == steps < 16


def test_a_threshold_of_one_changes_nothing_and_steps_stay_the_limit():
    seeds = list(range(6))
    plain = rollout_group(POLICY, toy_text_prompt(), TEXT, seeds, 0)
    sure = rollout_group(POLICY, toy_text_prompt(), replace(TEXT, confidence_threshold=1.0), seeds, 0)
    assert [r.token_ids.tolist() for r in plain] == [r.token_ids.tolist() for r in sure]
    quick = rollout_group(POLICY, toy_text_prompt(), replace(TEXT, confidence_threshold=1e-9), seeds, 0)
    assert all(len(set(r.step_map[r.response_mask].tolist())) <= 2 for r in quick)  # one step a block
    assert max(r.step_map.max() for r in plain) == 7


def test_truncation_by_hand():
    p = torch.tensor([[0.4, 0.1, 0.3, 0.2]])
    torch.testing.assert_close(truncate(p, top_k=2), torch.tensor([[0.4, 0.0, 0.3, 0.0]]))
    torch.testing.assert_close(truncate(p, top_p=0.5), torch.tensor([[0.4, 0.0, 0.3, 0.0]]))
    torch.testing.assert_close(truncate(p, top_p=0.05), torch.tensor([[0.4, 0.0, 0.0, 0.0]]))
    # of the three that top_k leaves, the first holds 4/9 of the mass and the first two 7/9
    torch.testing.assert_close(truncate(p, top_k=3, top_p=0.6), torch.tensor([[0.4, 0.0, 0.3, 0.0]]))
    assert truncate(p, top_k=9, top_p=1.0) is p


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8), st.sampled_from([0.3, 0.7, 1.0]), st.sampled_from([0.5, 1.0]))
def test_draws_stay_in_what_truncation_leaves(seed, top_k, top_p, temperature):
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(seed)) * 2
    left = truncate((logits / temperature).softmax(-1), top_k, top_p)
    count = 4000
    tokens, probability = sample_tokens(
        logits.expand(count, -1), uniforms([seed], 0, torch.arange(count))[0], temperature, top_k, top_p
    )
    share = torch.bincount(tokens, minlength=12) / count
    assert (share - left[0] / left.sum()).abs().max() < 5 * (0.25 / count) ** 0.5
    assert not share[left[0] == 0].any()
    torch.testing.assert_close(probability, logits.softmax(-1)[0, tokens])


@settings(max_examples=30, deadline=None)
@given(
    members=st.integers(1, 5), seed=st.integers(0, 2**20), temperature=st.sampled_from([0.0, 0.7, 1.0]),
    top_k=st.sampled_from([0, 3]), remasking=st.sampled_from(sorted(REMASKING)),
)  # fmt: skip
def test_members_that_share_logits_write_what_each_would(members, seed, temperature, top_k, remasking):
    logits = 3 * torch.randn(6, 11, generator=torch.Generator().manual_seed(seed))
    noise, order = torch.rand(2, members, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    sampling = TextSampling(8, 8, 8, temperature=temperature, top_k=top_k, remasking=remasking)
    found = candidates(logits, noise, order, sampling)
    assert found.tokens.shape == found.certainty.shape == (members, 6)
    told = found.told(torch.arange(members * 6)).view(members, 6, 2)
    for member in range(members):
        alone = candidates(logits, noise[member], order[member], sampling)
        assert torch.equal(found.tokens[member], alone.tokens)
        assert torch.equal(found.certainty[member], alone.certainty)
        assert torch.equal(told[member], alone.told(torch.arange(6)))


def test_the_penalty_by_hand():
    logits = torch.tensor([[2.0, -2.0, 1.0, 3.0], [2.0, -2.0, 1.0, 3.0]])
    ids = torch.tensor([[0, 1, 3], [2, 2, 3]])  # 3 is the mask token: it is not a repetition
    found = penalise_repetition(logits, ids, torch.tensor([0, 1]), mask_id=3, penalty=2.0)
    assert found.tolist() == [[1.0, -4.0, 1.0, 3.0], [2.0, -2.0, 0.5, 3.0]]


def test_a_strong_penalty_stops_a_policy_that_repeats_itself():
    """Only tokens that are revealed in one step can still be equal: one a step, none is."""
    sampling = TextSampling(16, 16, 16, temperature=0.0)
    prefix = POLICY.encode_prompt(toy_text_prompt()).prefix
    before = sample_text(POLICY, prefix, sampling, [0])[0].token_ids
    after = sample_text(POLICY, prefix, replace(sampling, repetition_penalty=1e6), [0])[0].token_ids
    assert len(set(before.tolist())) < len(before)
    assert len(set(after.tolist())) == len(after)


def test_confidences_by_hand():
    p = torch.tensor([[0.5, 0.25, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0]])
    candidate, noise = torch.tensor([0.25, 1.0]), torch.tensor([0.1, 0.9])
    found = {kind: REMASKING[kind].confidence(p.log(), candidate, noise).tolist() for kind in REMASKING}
    assert found["low_confidence"] == [0.25, 1.0]
    np.testing.assert_allclose(found["random"], [0.1, 0.9], rtol=1e-6)
    np.testing.assert_allclose(found["entropy"], [2**-1.5, 1.0], rtol=1e-6)  # an entropy of 1.5 bits
    np.testing.assert_allclose(found["margin"], [0.25, 1.0], rtol=1e-6)


def test_origin_reveals_each_mask_by_its_own_chance():
    """A quarter of 16 masks in the first of four steps, each alone: 3 binomial variances of its mean, over 200 members."""
    sampling = TextSampling(16, 16, 4, temperature=1.0, remasking="origin")
    group = sample_text(toy_policy(scale=0.1), [20, 21], sampling, list(range(200)))
    first = np.array([(sample.step_map == 0).sum() for sample in group if len(sample.step_map) == 16])
    assert len(first) > 100 and len(set(first.tolist())) > 3
    assert abs(first.mean() - 4) < 3 * (16 * 0.25 * 0.75 / len(first)) ** 0.5
    assert all(sample.step_map.max() <= 3 for sample in group)


@pytest.mark.parametrize("kind", [kind for kind in REMASKING if not REMASKING[kind].alone])
def test_the_order_of_revealing_follows_the_confidence(kind):
    """In the first step of a greedy canvas, the revealed positions are the surest by that measure."""
    sampling = TextSampling(16, 16, 4, temperature=0.0, remasking=kind)
    prefix = POLICY.encode_prompt(toy_text_prompt()).prefix
    sample = sample_text(POLICY, prefix, sampling, [3])[0]
    canvas = torch.tensor([[*prefix, *[POLICY.vocabulary.mask_id] * 16]])
    with torch.no_grad():
        logits = POLICY.logits(canvas)[0, len(prefix) :]
    logits[:, POLICY.vocabulary.mask_id] = -torch.inf
    order = uniforms([3], 0, torch.arange(16), stream=1)[0]
    confidence = REMASKING[kind].confidence(logits, logits.softmax(-1).max(-1).values, order)
    revealed = set(np.flatnonzero(sample.step_map == 0).tolist())
    assert revealed <= set(confidence.topk(4).indices.tolist())
    assert len(sample.token_ids) < 16 or len(revealed) == 4

"""A plan in words, then an image conditioned on it: one rollout, two spans, both trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.base import EncodedPrompt
from policies.generate import rollout_group
from policies.samplers.image import sample_image
from policies.samplers.text import sample_text
from rl.config import UniGRPOConfig
from rl.errors import DataError
from rl.learner.likelihood import Masked, masked_log_probs
from rl.learner.microbatches import collate
from rl.types import (
    ImageSampling,
    MaskDraw,
    Modality,
    RolloutStatus,
    Span,
    Task,
    TextSampling,
    ThinkDrawSampling,
    TrainBatch,
)
from tests.toys import toy_policy, toy_think_draw_prompt

SAMPLING = ThinkDrawSampling(TextSampling(16, 8, 8), ImageSampling(steps=4, guidance=1.5))
SEEDS = list(range(8))


def policy_that_ends():
    policy = toy_policy()
    with torch.no_grad():
        policy.module.ff_out.weight[policy.vocabulary.eos_id] *= 3  # plans of many lengths
    return policy


POLICY = policy_that_ends()
VOCABULARY = POLICY.vocabulary
GROUP = rollout_group(POLICY, toy_think_draw_prompt(), SAMPLING, SEEDS, 0)


def test_one_sequence_holds_the_plan_and_its_image():
    encoded = POLICY.encode_prompt(toy_think_draw_prompt())
    token = POLICY.tokenizer.token_id
    assert len({len(rollout.token_ids) for rollout in GROUP}) > 2
    assert {rollout.status for rollout in GROUP} == set(RolloutStatus)
    for rollout in GROUP:
        ids, (plan, image) = rollout.token_ids, rollout.spans
        assert tuple(ids[: plan.start]) == encoded.prefix and ids[0] == token("<|t2i|>")
        assert (plan.modality, image.modality) == (Modality.TEXT, Modality.IMAGE)
        assert ids[image.start - 2 : image.start].tolist() == [VOCABULARY.eos_id, token("<|soi|>")]
        assert ids[image.stop :].tolist() == [token("<|eoi|>")] and image.stop - image.start == 16
        expected = np.zeros(len(ids), dtype=bool)
        expected[plan.start : plan.stop] = expected[image.start : image.stop] = True
        assert (rollout.response_mask == expected).all()
        # the end of the plan is the policy's own where it wrote one
        assert (ids[plan.stop - 1] == VOCABULARY.eos_id) == (rollout.status is RolloutStatus.COMPLETE)
        assert rollout.step_map[image.start : image.stop].min() >= SAMPLING.think.steps > rollout.step_map[plan.start]
        assert rollout.text == POLICY.tokenizer.decode(ids[plan.start : plan.stop].tolist())
        codes = ids[image.start : image.stop] - VOCABULARY.image_offset
        assert POLICY.image_tokenizer is not None and rollout.image is not None
        # decoded alone, sums have another order than in its group: a value between two levels may round to either
        alone = POLICY.image_tokenizer.decode(codes[None])[0]
        np.testing.assert_allclose(rollout.image.astype(int), alone.astype(int), rtol=0, atol=1)


def test_the_image_is_conditioned_on_the_plan():
    """The image of a member is the image that its own prefix, plan included, gives alone, without padding."""
    drawing = POLICY.encode_prompt(toy_think_draw_prompt()).drawing
    assert drawing is not None
    for rollout in GROUP[:4]:
        _, image = rollout.spans
        whole = EncodedPrompt(
            tuple(rollout.token_ids[: image.start].tolist()), drawing.suffix, drawing.unconditional, 16
        )
        seed = rollout.seed ^ 0x3C6EF372FE94F82B
        alone = sample_image(POLICY, whole, SAMPLING.draw, [seed])[0].token_ids
        assert (alone + VOCABULARY.image_offset).tolist() == rollout.token_ids[image.start : image.stop].tolist()
        other = replace(whole, prefix=(*whole.prefix[:-3], 40, 41, *whole.prefix[-2:]))
        assert sample_image(POLICY, other, SAMPLING.draw, [seed])[0].token_ids.tolist() != alone.tolist()


def test_the_plan_is_the_text_sampler_s():
    prefix = POLICY.encode_prompt(toy_think_draw_prompt()).prefix
    plans = sample_text(POLICY, prefix, SAMPLING.think, SEEDS)
    for rollout, plan in zip(GROUP, plans, strict=True):
        start, stop = rollout.spans[0].start, rollout.spans[0].stop
        assert rollout.token_ids[start:stop].tolist() == plan.token_ids.tolist()


def test_each_span_is_normalised_over_its_own_tokens():
    """An image code that strayed into the plan is normalised over the vocabulary; the image's are over the codebook."""
    rollout, offset = GROUP[0], VOCABULARY.image_offset
    plan, image = rollout.spans
    ids = rollout.token_ids.copy()
    ids[plan.start] = offset + 3
    batch = TrainBatch(
        (ids,), (rollout.response_mask,), np.ones(1, dtype=np.float32), ((MaskDraw(1, 1.0),),), (Task.THINK_DRAW,),
        (rollout.step_map[rollout.response_mask],), spans=(rollout.spans,),
    )  # fmt: skip
    data = collate(batch, [(0, 1.0)], torch.device("cpu"), UniGRPOConfig())
    with torch.no_grad():
        found = masked_log_probs(
            POLICY, Masked(data.token_ids, data.attention, data.masks[0], is_image=data.is_image)
        ).values[0]
        hidden = data.token_ids.masked_fill(data.masks[0], VOCABULARY.mask_id)
        logits = POLICY.logits(hidden)[0].double()
    for place in range(plan.start, plan.stop):
        assert abs(found[place] - logits[place].log_softmax(-1)[ids[place]]) < 1e-4
    for place in range(image.start, image.stop):
        codebook = logits[place, offset : offset + VOCABULARY.codebook_size].log_softmax(-1)
        assert abs(found[place] - codebook[ids[place] - offset]) < 1e-4


def test_without_spans_the_task_decides():
    ids, mask = np.arange(6), np.ones(6, dtype=bool)

    def draws(task: Task, *spans: Span):
        batch = TrainBatch(
            (ids,), (mask,), np.ones(1), ((MaskDraw(1, 1.0),),), (task,), (ids,), spans=(spans,) if spans else ()
        )
        return collate(batch, [(0, 1.0)], torch.device("cpu"), UniGRPOConfig()).is_image[0].tolist()

    assert draws(Task.TEXT) == [False] * 6 and draws(Task.DRAW) == [True] * 6
    assert draws(Task.THINK_DRAW, Span(1, 3, Modality.TEXT), Span(4, 6, Modality.IMAGE)) == [False] * 4 + [True] * 2


def test_a_prompt_too_long_for_plan_and_image_is_told():
    prompt = toy_think_draw_prompt()
    long = replace(prompt, messages=(replace(prompt.messages[0], content="red " * 60),))
    with pytest.raises(DataError, match="tokens with its response, but .* takes 128"):
        POLICY.encode_prompt(long)

"""The learner on rollouts that hold a plan in words and an image: every estimator, each span over its own tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.generate import rollout_group
from rl.config import Config, LearnerConfig, UniGRPOConfig
from rl.estimators import ESTIMATORS
from rl.learner.microbatches import collate
from rl.masking import mask_pattern
from rl.prepare import prepare
from rl.types import Group, ImageSampling, Modality, Score, TextSampling, ThinkDrawSampling, TrainBatch
from tests.rl.learner.test_update import SETTINGS, assert_same_gradients, recorded
from tests.toys import toy_policy, toy_think_draw_prompt

SAMPLING = ThinkDrawSampling(TextSampling(max_new_tokens=8, block_length=4, steps=4), ImageSampling(steps=3))
GROUP = Group(
    toy_think_draw_prompt(),
    rollout_group(toy_policy(), toy_think_draw_prompt(), SAMPLING, [1, 2, 3], 0),
    tuple(map(Score, (1.0, -2.0, 0.5))),
)


def think_draw_batch(settings: LearnerConfig) -> TrainBatch:
    return prepare([GROUP], Config(learner=settings), 0)


def test_gradient_is_the_written_objectives() -> None:
    """From full logits, rollout by rollout: a plan's tokens over the vocabulary, an image's over the codebook."""
    settings = replace(SETTINGS, algorithm=UniGRPOConfig(mu=1, kl_coef=0.05))
    batch, policy = think_draw_batch(settings), toy_policy()
    offset, codes, losses = policy.vocabulary.image_offset, policy.vocabulary.codebook_size, []
    for i, (ids, response, advantage, draw) in enumerate(
        zip(batch.token_ids, batch.response_mask, batch.advantages, batch.mask_draws[0], strict=True)
    ):
        masked = np.flatnonzero(response)[mask_pattern(draw, int(response.sum()))]
        hidden = torch.tensor(ids)[None].index_fill(1, torch.tensor(masked), policy.vocabulary.mask_id)
        logits, (plan, image) = policy.logits(hidden)[0], batch.spans[i]
        terms = [logits[t].log_softmax(-1)[ids[t]] for t in masked if plan.start <= t < plan.stop]
        drawn = [t for t in masked if image.start <= t < image.stop]
        terms += [logits[t, offset : offset + codes].log_softmax(-1)[ids[t] - offset] for t in drawn]
        assert len(terms) == len(masked) > len(drawn) > 0
        losses.append(-float(advantage) * torch.stack(terms).mean())
    expected = torch.autograd.grad(torch.stack(losses).mean(), list(policy.module.parameters()))
    engine, _ = recorded(settings, batch=batch)
    assert_same_gradients(engine.gradients, [expected])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_trains_on_both_spans(name: str) -> None:
    samples = 99 if name in ("trajectory_entropy", "trajectory_surprisal") else None  # all steps, in both
    settings = replace(SETTINGS, algorithm=replace(SETTINGS.algorithm, estimator=name, estimator_samples=samples))
    batch = think_draw_batch(settings)
    data = collate(batch, [(i, 1 / 3) for i in range(3)], torch.device("cpu"), settings.algorithm)
    for i, spans in enumerate(batch.spans):
        for span in spans:
            assert data.masks[:, i, span.start : span.stop].any()
            assert data.is_image[i, span.start : span.stop].all() == (span.modality is Modality.IMAGE)
    _, metrics = recorded(settings, batch=batch)
    assert metrics["actor/first_ratio_error"] <= 1e-5


@pytest.mark.parametrize("name", ["masked", "elbo_stratified"])
def test_chunks_of_both_spans_are_the_whole(name: str) -> None:
    whole = replace(SETTINGS, algorithm=replace(SETTINGS.algorithm, estimator=name))
    batch = think_draw_batch(whole)
    expected, _ = recorded(whole, batch=batch)
    in_chunks, _ = recorded(replace(whole, logits_mib=0.001), batch=batch)
    assert_same_gradients(in_chunks.gradients, expected.gradients)


def test_the_sampled_path_goes_through_the_plan_first() -> None:
    """While the plan is written no code of the image is shown, and the image sees the whole plan."""
    algorithm = UniGRPOConfig(mu=1, estimator="trajectory")
    data = collate(think_draw_batch(SETTINGS), [(0, 1.0)], torch.device("cpu"), algorithm)
    plan, image = (slice(span.start, span.stop) for span in GROUP.rollouts[0].spans)
    for hidden, weights in zip(data.hidden[0, :, 0], data.term_weights[0, :, 0], strict=True):
        if weights[plan].any():
            assert hidden[image].all() and not weights[image].any()
        else:
            assert not hidden[plan].any()

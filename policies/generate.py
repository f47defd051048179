"""Prompts to responses: the samplers, joined with a policy's layout and decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from policies.base import EncodedPrompt, Policy
from policies.samplers.image import sample_image
from policies.samplers.text import sample_text
from rl.types import ImageSampling, Prompt, Rollout, RolloutStatus, Sample, TextSampling


def rollout_group(
    policy: Policy,
    prompt: Prompt,
    sampling: TextSampling | ImageSampling,
    seeds: Sequence[int],
    weight_version: int,
) -> tuple[Rollout, ...]:
    """G rollouts of one prompt, always one batch: the unit whose arithmetic is the same wherever it runs (law 1)."""
    encoded = policy.encode_prompt(prompt)
    if isinstance(sampling, ImageSampling):
        samples = sample_image(policy, encoded, sampling, seeds)
    else:
        samples = sample_text(policy, encoded.prefix, sampling, seeds, encoded.suffix)
    images = _decode_images(policy, samples) if encoded.draws else [None] * len(samples)
    return tuple(
        _rollout(policy, prompt, encoded, sample, image, index, seed, weight_version)
        for index, (sample, image, seed) in enumerate(zip(samples, images, seeds, strict=True))
    )


def generate_text(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    sampling: TextSampling | Mapping[str, Any],
    seeds: Sequence[int],
) -> list[Sample]:
    """Responses to prompts of vocabulary ids, in order: ``.token_ids`` [L] and ``.step_map`` [L], the response alone.

    Neighbouring equal prompts are sampled as one group. ``sampling`` may be a mapping of TextSampling's fields.
    """
    settings = sampling if isinstance(sampling, TextSampling) else TextSampling(**sampling)
    samples: list[Sample] = []
    for prompt, members in groupby(zip(map(tuple, prompts), seeds, strict=True), key=lambda pair: pair[0]):
        samples += sample_text(policy, prompt, settings, [seed for _, seed in members])
    return samples


def generate_image(
    policy: Policy,
    prompts: Sequence[Prompt | EncodedPrompt | str],
    sampling: ImageSampling | Mapping[str, Any],
    seeds: Sequence[int],
) -> list[Sample]:
    """Images for captions, in order: ``.token_ids`` [codes] are codebook indices from 0; ``policy.image_tokenizer``
    decodes them. Neighbouring equal prompts are sampled as one group."""
    settings = sampling if isinstance(sampling, ImageSampling) else ImageSampling(**sampling)
    samples: list[Sample] = []
    encoded = [_encode_draw(policy, prompt) for prompt in prompts]
    for prompt, members in groupby(zip(encoded, seeds, strict=True), key=lambda pair: pair[0]):
        samples += sample_image(policy, prompt, settings, [seed for _, seed in members])
    return samples


def _encode_draw(policy: Policy, prompt: Prompt | EncodedPrompt | str) -> EncodedPrompt:
    from rl.types import Message, Task

    if isinstance(prompt, EncodedPrompt):
        return prompt
    if isinstance(prompt, str):
        prompt = Prompt("caption", Task.DRAW, (Message("user", prompt),))
    return policy.encode_prompt(prompt)


def _decode_images(policy: Policy, samples: Sequence[Sample]) -> list[np.ndarray]:
    assert policy.image_tokenizer is not None
    return list(policy.image_tokenizer.decode(np.stack([sample.token_ids for sample in samples])))


def _rollout(
    policy: Policy,
    prompt: Prompt,
    encoded: EncodedPrompt,
    sample: Sample,
    image: np.ndarray | None,
    index: int,
    seed: int,
    weight_version: int,
) -> Rollout:
    """The whole sequence: text that has ended is closed there, so its tail is neither scored nor attended to."""
    response = sample.token_ids + (policy.vocabulary.image_offset if encoded.draws else 0)
    before, after = len(encoded.prefix), len(encoded.suffix)
    token_ids = np.concatenate([encoded.prefix, response, encoded.suffix]).astype(np.int64)
    response_mask = np.zeros(len(token_ids), dtype=bool)
    response_mask[before : len(token_ids) - after] = True
    step_map = np.full(len(token_ids), -1, dtype=np.int32)
    step_map[response_mask] = sample.step_map
    return Rollout(
        prompt_id=prompt.id,
        index=index,
        token_ids=token_ids,
        response_mask=response_mask,
        step_map=step_map,
        seed=int(seed),
        weight_version=weight_version,
        status=RolloutStatus.COMPLETE if sample.complete else RolloutStatus.TRUNCATED,
        text="" if encoded.draws else policy.tokenizer.decode(response.tolist()),
        image=image,
    )

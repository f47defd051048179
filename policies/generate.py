"""Prompts to responses: the samplers, joined with a policy's layout and decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from policies.base import EncodedPrompt, Policy
from policies.infill import check_given
from policies.policy import short
from policies.samplers.image import sample_image
from policies.samplers.text import sample_text
from rl.errors import DataError
from rl.types import (
    ImageSampling,
    Message,
    Modality,
    Prompt,
    Rollout,
    RolloutStatus,
    Sample,
    Sampling,
    Span,
    Task,
    TextSampling,
    ThinkDrawSampling,
)

# The image of a think_draw rollout draws other noise than its plan.
_DRAW_STREAM = 0x3C6EF372FE94F82B


def rollout_group(
    policy: Policy,
    prompt: Prompt,
    sampling: Sampling,
    seeds: Sequence[int],
    weight_version: int,
    given: Sequence[int] | None = None,
) -> tuple[Rollout, ...]:
    """G rollouts of one prompt, always one batch: the unit whose arithmetic is the same wherever it runs (law 1).

    given  the response as far as it is known, and FREE elsewhere (policies.infill makes one): vocabulary ids, or codes
           of an image. Only what the policy chose is in the response mask.

    Raises DataError where ``given`` does not fit the prompt's task, or prompt and response do not fit the policy.
    """
    encoded = policy.encode_prompt(prompt)
    check_given(policy, encoded, given, prompt.id)
    if given is None:
        _check_room(policy, prompt, encoded, sampling)
    if isinstance(sampling, ThinkDrawSampling):
        parts = _think_draw(policy, encoded, sampling, seeds)
    elif isinstance(sampling, ImageSampling):
        images = sample_image(policy, encoded, sampling, seeds, given)
        parts = [[part] for part in _images(policy, [encoded] * len(seeds), images)]
    else:
        samples = sample_text(policy, encoded.prefix, sampling, seeds, encoded.suffix, given)
        parts = [[_text(policy, encoded, sample)] for sample in samples]
    return tuple(
        _join(prompt.id, index, int(seed), weight_version, written)
        for index, (seed, written) in enumerate(zip(seeds, parts, strict=True))
    )


def _check_room(policy: Policy, prompt: Prompt, encoded: EncodedPrompt, sampling: Sampling) -> None:
    text = sampling.think if isinstance(sampling, ThinkDrawSampling) else sampling
    written = text.max_new_tokens if isinstance(text, TextSampling) else 0
    parts = [part for part in (encoded, encoded.drawing) if part is not None]
    fixed = sum(len(part.prefix) + len(part.suffix) + (part.response_length or 0) for part in parts)
    if fixed + written > policy.max_length:
        raise DataError(
            f"prompt {short(prompt.id)}: {fixed} tokens and max_new_tokens={written}, but {policy.name} takes "
            f"{policy.max_length}; shorten the prompt, or lower max_new_tokens"
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
    if isinstance(prompt, EncodedPrompt):
        return prompt
    if isinstance(prompt, str):
        prompt = Prompt("caption", Task.DRAW, (Message("user", prompt),))
    return policy.encode_prompt(prompt)


@dataclass(frozen=True, slots=True)
class _Part:
    """One sampled response within its layout: given tokens, the response [L] in vocabulary ids, given tokens."""

    before: Sequence[int]
    response: np.ndarray
    step_map: np.ndarray
    after: Sequence[int]
    modality: Modality
    complete: bool
    confidence: np.ndarray
    entropy: np.ndarray
    text: str = ""
    image: np.ndarray | None = None


def _text(policy: Policy, encoded: EncodedPrompt, sample: Sample) -> _Part:
    text = policy.tokenizer.decode(sample.token_ids.tolist())
    return _Part(
        encoded.prefix,
        sample.token_ids,
        sample.step_map,
        encoded.suffix,
        Modality.TEXT,
        sample.complete,
        *_told(sample),
        text,
    )


def _told(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    assert sample.confidence is not None and sample.entropy is not None
    return sample.confidence, sample.entropy


def _images(
    policy: Policy, encoded: Sequence[EncodedPrompt], samples: Sequence[Sample], first_step: int = 0
) -> list[_Part]:
    """Decoded as one batch, equal codes once: in few steps a sure policy draws the same picture many times, and the
    members then share one array. encoded: each image's own layout; first_step: how many denoising steps went before."""
    assert policy.image_tokenizer is not None
    codes = np.stack([sample.token_ids for sample in samples])
    distinct, which = np.unique(codes, axis=0, return_inverse=True)
    decoded = list(policy.image_tokenizer.decode(distinct))
    pictures = [decoded[index] for index in which.ravel()]
    return [
        _Part(
            layout.prefix,
            sample.token_ids + policy.vocabulary.image_offset,
            np.where(sample.step_map < 0, -1, sample.step_map + first_step),
            layout.suffix,
            Modality.IMAGE,
            sample.complete,
            *_told(sample),
            image=picture,
        )
        for layout, sample, picture in zip(encoded, samples, pictures, strict=True)
    ]


def _think_draw(
    policy: Policy, encoded: EncodedPrompt, sampling: ThinkDrawSampling, seeds: Sequence[int]
) -> list[list[_Part]]:
    """A plan in words, then an image conditioned on it: every member has a plan, so a prefix, of its own.

    The plan is closed by an end-of-text token, written or given; guidance leaves out the prompt and the plan.
    """
    assert encoded.drawing is not None
    eos, drawing = policy.vocabulary.eos_id, encoded.drawing
    plans = sample_text(policy, encoded.prefix, sampling.think, seeds)
    between = [(*(() if plan.complete else (eos,)), *drawing.prefix) for plan in plans]
    prefixes = [(*encoded.prefix, *plan.token_ids.tolist(), *gap) for plan, gap in zip(plans, between, strict=True)]
    image_seeds = [seed ^ _DRAW_STREAM for seed in seeds]
    samples = sample_image(policy, drawing, sampling.draw, image_seeds, prefixes=prefixes)
    layouts = [replace(drawing, prefix=gap) for gap in between]
    images = _images(policy, layouts, samples, first_step=sampling.think.steps)
    return [[_text(policy, encoded, plan), image] for plan, image in zip(plans, images, strict=True)]


def _join(prompt_id: str, index: int, seed: int, weight_version: int, parts: Sequence[_Part]) -> Rollout:
    """The whole sequence: text that has ended is closed there, so its tail is neither scored nor attended to."""
    ids: list[np.ndarray] = []
    steps: list[np.ndarray] = []
    told: list[np.ndarray] = []  # [2, n] each: confidence and entropy
    spans: list[Span] = []
    length = 0
    for part in parts:
        start = length + len(part.before)
        spans.append(Span(start, start + len(part.response), part.modality))
        ids += [np.asarray(part.before, dtype=np.int64), part.response, np.asarray(part.after, dtype=np.int64)]
        steps += [np.full(len(part.before), -1), part.step_map, np.full(len(part.after), -1)]
        gaps = (np.full((2, len(given)), -1, dtype=np.float32) for given in (part.before, part.after))
        told += [next(gaps), np.stack([part.confidence, part.entropy]), next(gaps)]
        length = start + len(part.response) + len(part.after)
    confidence, entropy = np.concatenate(told, axis=1)
    step_map = np.concatenate(steps).astype(np.int32)
    return Rollout(
        prompt_id=prompt_id,
        index=index,
        token_ids=np.concatenate(ids).astype(np.int64),
        response_mask=step_map >= 0,
        step_map=step_map,
        seed=seed,
        weight_version=weight_version,
        status=RolloutStatus.COMPLETE if all(part.complete for part in parts) else RolloutStatus.TRUNCATED,
        text="".join(part.text for part in parts),
        image=next((part.image for part in parts if part.image is not None), None),
        spans=tuple(spans),
        confidence=confidence.copy(),
        entropy=entropy.copy(),
    )

"""Infilling: any position of a response may be given, and the sampler writes the rest.

A masked-diffusion policy predicts every masked position from all others, so that a text's middle, the open part of an
answer about an image, or a part of an image is sampled like a whole one (arXiv 2505.15809, section 5.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from policies.base import EncodedPrompt, ImageTokenizer, Policy
from policies.samplers.image import sample_image
from policies.samplers.text import sample_text
from policies.samplers.tokens import FREE
from rl.errors import DataError
from rl.types import ImageSampling, Prompt, Sample, TextSampling

_HOLE = re.compile(r"\[mask:(\d+)\]")


def infill_text(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    given: Sequence[Sequence[int]],
    sampling: TextSampling | Mapping[str, Any],
    seeds: Sequence[int],
) -> list[Sample]:
    """One response a prompt, in order: ``given[i]`` with its FREE (-1) positions filled. ``step_map`` is -1 where a token
    was given. Its length is the canvas: ``max_new_tokens`` says only, with ``steps``, how many steps a block takes.

    Raises DataError where a response has nothing to fill, or an id that no response holds.
    """
    settings = sampling if isinstance(sampling, TextSampling) else TextSampling(**sampling)
    samples: list[Sample] = []
    for index, (prompt, response, seed) in enumerate(zip(prompts, given, seeds, strict=True)):
        check_given(policy, EncodedPrompt(tuple(prompt)), response, str(index))
        samples += sample_text(policy, prompt, settings, [seed], given=response)
    return samples


def infill_image(
    policy: Policy,
    prompts: Sequence[Prompt | EncodedPrompt],
    given: Sequence[Sequence[int]],
    sampling: ImageSampling | Mapping[str, Any],
    seeds: Sequence[int],
) -> list[Sample]:
    """One image a draw prompt, in order: the codes ``given[i]`` with those that are FREE (-1) drawn.

    ``masked_codes`` makes them from a picture and a mask of pixels. Raises DataError as ``infill_text`` does.
    """
    settings = sampling if isinstance(sampling, ImageSampling) else ImageSampling(**sampling)
    samples: list[Sample] = []
    for index, (prompt, codes, seed) in enumerate(zip(prompts, given, seeds, strict=True)):
        encoded = prompt if isinstance(prompt, EncodedPrompt) else policy.encode_prompt(prompt)
        check_given(policy, encoded, codes, str(index) if isinstance(prompt, EncodedPrompt) else prompt.id)
        samples += sample_image(policy, encoded, settings, [seed], given=codes)
    return samples


def parse_template(policy: Policy, template: str) -> list[int]:
    """``"It is [mask:3] today"`` -> ids with 3 FREE positions in the middle. Raises DataError without such a hole."""
    pieces = _HOLE.split(template)
    if len(pieces) == 1:
        raise DataError(f"given {template!r}: nothing to fill; write [mask:N] where N tokens are to stand")
    ids: list[int] = []
    for text, hole in zip(pieces[::2], [*pieces[1::2], "0"], strict=True):
        ids += [*(policy.tokenizer.encode(text) if text else []), *[FREE] * int(hole)]
    return ids


def masked_codes(tokenizer: ImageTokenizer, pixels: np.ndarray, mask: np.ndarray) -> list[int]:
    """Codes of a picture, FREE where the mask touches the code's patch.

    pixels uint8 [S, S, 3] at the tokenizer's size S; mask bool [S, S], True where the image is to be drawn anew.
    """
    side = round(tokenizer.codes_per_image**0.5)
    patch = tokenizer.image_size // side
    free = mask.reshape(side, patch, side, patch).any(axis=(1, 3)).flatten()
    return [FREE if hole else int(code) for hole, code in zip(free, tokenizer.encode(pixels[None])[0], strict=True)]


def check_given(policy: Policy, encoded: EncodedPrompt, given: Sequence[int] | None, where: str) -> None:
    """Raises DataError where a partly given response does not fit the prompt or the vocabulary."""
    if given is None:
        return
    vocabulary = policy.vocabulary
    if encoded.drawing is not None:
        raise DataError(f"prompt {where}: a think_draw response cannot be given in part; use task draw")
    if encoded.is_image and len(given) != encoded.response_length:
        raise DataError(f"prompt {where}: {len(given)} codes given, but an image has {encoded.response_length}")
    limit, what = (vocabulary.codebook_size, "codebook") if encoded.is_image else (vocabulary.size, "vocabulary")
    for place, token in enumerate(given):
        if token != FREE and not 0 <= token < limit:
            raise DataError(f"prompt {where}: given[{place}]={token}: allowed: the {what}'s 0..{limit - 1}, or {FREE}")
        if token == vocabulary.mask_id and not encoded.is_image:
            raise DataError(f"prompt {where}: given[{place}]={token} is the mask token; write {FREE} where it is free")
    if FREE not in given:
        raise DataError(f"prompt {where}: nothing to fill: no position of the given response is free ({FREE})")
    needed = len(encoded.prefix) + len(given) + len(encoded.suffix)
    if needed > policy.max_length:
        raise DataError(
            f"prompt {where}: {needed} tokens with its response, but {policy.name} takes {policy.max_length}; shorten it"
        )

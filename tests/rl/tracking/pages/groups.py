"""Groups with films: a toy policy's own rollouts under hand-made scores."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np

from policies.generate import rollout_group
from rl.tracking.pages.film import Decoders
from rl.types import Group, ImageSampling, Prompt, Score, TextSampling
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt, toy_understand_prompt

POLICY = toy_policy()
_TEXT, _DRAW = TextSampling(8, 4, 4), ImageSampling(steps=3)


def decoders() -> Decoders:
    words = POLICY.vocabulary
    return Decoders(POLICY.tokenizer, words.eos_id, words.image_offset, POLICY.image_tokenizer)


@cache
def sampled(kind: str, seed: int) -> Group:
    """Two members, whose scores are 1 and 0."""
    prompt: Prompt = {"text": toy_text_prompt, "understand": toy_understand_prompt, "draw": toy_draw_prompt}[kind](0)
    prompt = dataclasses.replace(prompt, id=f"{kind}/0", source=f"{kind}s")
    rollouts = rollout_group(POLICY, prompt, _DRAW if kind == "draw" else _TEXT, [seed, seed + 1], 0)
    return Group(prompt, tuple(rollouts), (Score(1.0, parts={"right": 1.0}), Score(0.0, parts={"right": 0.0})))


def evaluation(seed: int, *, right: bool = True) -> list[Group]:
    """A prompt of each task. right: the first member's score."""
    groups = [sampled(kind, seed) for kind in ("text", "understand", "draw")]
    return [
        dataclasses.replace(group, scores=(Score(float(right), parts={"right": float(right)}), group.scores[1]))
        for group in groups
    ]


def with_words(group: Group, words: str) -> Group:
    """The same group, in which everybody says ``words``."""
    rollouts = tuple(dataclasses.replace(each, text=words) for each in group.rollouts)
    asked = dataclasses.replace(group.prompt.messages[-1], content=words)
    prompt = dataclasses.replace(group.prompt, id=words, source=words, reference=words, messages=(asked,))
    scores = tuple(dataclasses.replace(each, parts={words[:50]: 1.0}) for each in group.scores)
    return Group(prompt, rollouts, scores)


def flat(colour: int) -> np.ndarray:
    return np.full((8, 8, 3), colour, np.uint8)

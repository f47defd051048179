"""One group of rollouts of each task that the policy can do: printed, and pictures saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cluster.doctor.case import Case
from cluster.doctor.check import Result, ok, red, skipped
from cluster.doctor.folder import QUESTION, draws
from policies.generate import rollout_group
from rl.scenes import SceneObject, SceneSpec, render
from rl.seeds import derive_seed
from rl.types import (
    Group,
    Message,
    Prompt,
    Rollout,
    Sampling,
    Score,
    Task,
    ThinkDrawSampling,
)

TASKS = (Task.TEXT, Task.UNDERSTAND, Task.DRAW, Task.THINK_DRAW)
GROUP = 2  # rollouts: the update needs one that is better than another
SECONDS = 20.0  # for one task, by the time of a forward pass
CANVAS, STEPS = 32, 16  # tokens of an answer, and most denoising steps
WARM = 0.7  # temperature of rollouts whose settings say 0
SHOWN = 160  # characters of an answer
_SCENE = SceneSpec("colors", (SceneObject("circle", "red"),))


def rollout(task: Task) -> Callable[[Case], Result]:
    def look(case: Case) -> Result:
        if task is not Task.TEXT and not draws(case):
            return skipped("this policy writes text alone")
        return _sample(case, task)

    return look


def prompt_of(task: Task) -> Prompt:
    """A question that needs no data."""
    text = {
        Task.TEXT: QUESTION,
        Task.UNDERSTAND: "What is in this picture?",
        Task.DRAW: "a red circle",
        Task.THINK_DRAW: "a red circle",
    }[task]
    image = render(_SCENE, 0, 96) if task is Task.UNDERSTAND else None
    return Prompt(f"doctor/{task}", task, (Message("user", text),), image=image)


def sampling_of(case: Case, task: Task) -> Sampling:
    """As the run's rollouts, by the family's card where nobody says more, with as many steps as there is time for.

    A block-causal policy's canvas is made of its own blocks.
    """
    policy, rollout = case.loaded, case.config.rollout
    given = {Task.UNDERSTAND: rollout.understand, Task.THINK_DRAW: rollout.think_draw.think}.get(task, rollout.text)
    block = policy.block_length or min(CANVAS, given.block_length)
    canvas = max(block, min(CANVAS, policy.max_length // 4) // block * block)
    blocks, steps = canvas // block, steps_in(SECONDS, case.pass_s)
    text = replace(
        given,
        max_new_tokens=canvas,
        block_length=block,
        steps=max(1, min(steps, canvas) // blocks) * blocks,
        temperature=given.temperature or WARM,  # two answers that are the same teach nothing
    )
    codes = policy.image_tokenizer.codes_per_image if policy.image_tokenizer else 1
    slower = 2 * max(1, codes // 64)  # guidance, and a canvas that is longer than the pass that was timed
    drawn = rollout.think_draw.draw if task is Task.THINK_DRAW else rollout.draw
    draw = replace(drawn, steps=max(1, min(steps_in(SECONDS, case.pass_s * slower), codes, drawn.steps)))
    if task is Task.DRAW:
        return draw
    return ThinkDrawSampling(text, draw) if task is Task.THINK_DRAW else text


def steps_in(seconds: float, pass_s: float) -> int:
    """Denoising steps of a group."""
    return max(1, min(STEPS, int(seconds / max(1e-6, GROUP * pass_s))))


def _sample(case: Case, task: Task) -> Result:
    policy, prompt, sampling = case.loaded, prompt_of(task), sampling_of(case, task)
    seeds = [derive_seed(0, prompt.id, index) for index in range(GROUP)]
    began = time.perf_counter()
    rollouts = rollout_group(policy, prompt, sampling, seeds, weight_version=0)
    seconds = time.perf_counter() - began
    for each in rollouts:
        if problem := _problem(case, each):
            return red(problem, "open an issue with the folder's config.json: the sampler and the policy do not fit")
    scores = tuple(Score(1.0 if index % 2 == 0 else 0.0) for index in range(GROUP))
    case.groups[task] = Group(prompt, rollouts, scores)
    counted = sum(int(each.response_mask.sum()) for each in rollouts)
    case.sampled[task] = (counted, seconds)
    return ok(_told(case, task, rollouts[0], seconds), text=rollouts[0].text, tokens=counted, seconds=round(seconds, 3))


def _problem(case: Case, rollout: Rollout) -> str:
    """Empty where the response is what one must be."""
    vocabulary = case.loaded.vocabulary
    response = rollout.token_ids[rollout.response_mask]
    if not len(response):
        return "a response without tokens"
    if (response == vocabulary.mask_id).any():
        return "a response with masks in it"
    if response.min() < 0 or response.max() >= vocabulary.size:
        return f"a response with an id of {int(response.max())}, and {vocabulary.size} rows"
    if rollout.image is not None and (rollout.image.ndim != 3 or rollout.image.dtype != np.uint8):
        return f"a picture of {rollout.image.dtype} {rollout.image.shape}"
    return ""


def _told(case: Case, task: Task, first: Rollout, seconds: float) -> str:
    parts = []
    if first.text or first.image is None:
        text = " ".join(first.text.split())
        parts.append(repr(text[:SHOWN] + "..." * (len(text) > SHOWN)) if text else "an empty answer")
    if first.image is not None:
        from PIL import Image

        case.out.mkdir(parents=True, exist_ok=True)
        file = case.out / f"{task}.png"
        Image.fromarray(first.image).save(file)
        parts.append(f"{file}, {first.image.shape[1]} x {first.image.shape[0]} pixels")
    return f"{' and '.join(parts)}, {seconds:.1f} s for {GROUP}"

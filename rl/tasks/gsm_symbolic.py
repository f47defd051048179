"""Text: word problems from reasoning-gym's ``gsm_symbolic`` (templates made from GSM8K problems, arXiv 2410.05229).

A question's hash decides on which side of the split it lies. So numbers and names are new in a held-out question, but
its template is not: all templates occur in training.

A template counts as usable where the arithmetic in its worked solution can be read as plain equations, the last of
which gives the answer (79 of the 85 that work in 0.1.25); ``templates`` takes the usable ones with the shortest
question and solution first. reasoning-gym's closing sentence on how to answer is left off.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any

from rl.errors import DataError
from rl.tasks.equations import equations
from rl.tasks.splits import content_hash, require_int, split_of, too_few
from rl.types import Message, Prompt, Task

_PROBES = 6  # examples of each template that are measured
_PATIENCE = 60  # draws in a row without a new question before a template counts as used up


def generate(split: str, *, size: int = 2000, seed: int = 0, templates: int = 20) -> list[Prompt]:
    """Different questions; the templates take turns. Raises ConfigError, or DataError where the templates run dry."""
    require_int("gsm_symbolic", "size", size, 1)
    require_int("gsm_symbolic", "seed", seed, 0)
    ranked = ranked_templates()
    require_int("gsm_symbolic", "templates", templates, 1, len(ranked))
    queues = {template: Random(f"{seed}/{template}") for template in ranked[:templates]}
    found: dict[str, Prompt] = {}
    while queues and len(found) < size:
        for template, rng in list(queues.items()):
            prompt = _draw(template, rng, split, found)
            if prompt is None:
                del queues[template]
            elif len(found) < size:
                found[prompt.messages[0].content] = prompt
    if len(found) < size:
        raise too_few("gsm_symbolic", len(found), size, "ask for fewer, or for more templates")
    return list(found.values())


@cache
def ranked_templates() -> tuple[int, ...]:
    """Usable templates of reasoning-gym, by its own numbers, shortest first."""
    lengths = {}
    for template, make in _generators().items():
        probes = [make(Random(f"probe/{template}/{index}"), 1.0) for index in range(_PROBES)]
        worked = [_steps_and_answer(probe) for probe in probes]
        if all(worked):
            questions = sum(len(probe["question"]) for probe in probes)
            lengths[template] = questions + sum(len(pair[0]) for pair in worked if pair)
    return tuple(sorted(lengths, key=lambda template: (lengths[template], template)))


def _draw(template: int, rng: Random, split: str, found: Mapping[str, Prompt]) -> Prompt | None:
    """The next new question of this template and split, or None where it seems to have no more."""
    for _ in range(_PATIENCE):
        entry = _generators()[template](rng, 1.0)
        question = entry["question"].strip()
        if question not in found and split_of(question) == split and (worked := _steps_and_answer(entry)):
            return _prompt(template, question, *worked)
    return None


def _steps_and_answer(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """None where the steps do not lead to the answer."""
    answer = entry["answer"].strip().removesuffix(".0")
    steps = equations(entry["metadata"]["answer_cot"])
    if not steps or steps[-1].rpartition("=")[2].rstrip("%") != answer:
        return None
    return " ".join(steps), answer


@cache
def _generators() -> Mapping[int, Any]:
    """reasoning-gym's templates by number, less those that it marks as broken."""
    try:
        from reasoning_gym.arithmetic.gsm_symbolic import gsm_symbolic as gym
    except ImportError as error:
        raise DataError("data source gsm_symbolic: the package is missing; pip install reasoning-gym") from error
    generators = gym.GSMSymbolicDataset(gym.GSMSymbolicDatasetConfig(seed=0, size=1)).generators
    return {number: generators[number] for number in gym.tasks_ok}


def _prompt(template: int, question: str, steps: str, answer: str) -> Prompt:
    return Prompt(
        id=f"gsm_symbolic/{template}/{content_hash(question):016x}",
        task=Task.TEXT,
        messages=(Message("user", question),),
        reference=answer,
        solution=f"<think>{steps}</think>{answer}",
        source="gsm_symbolic",
        metadata={"template": template},
    )

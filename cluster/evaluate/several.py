"""pass@k and maj@k of an evaluation, from each prompt's samples as they come."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rewards.correctness import is_exact
from rewards.math.decide import extract_answer
from rewards.math.verify import verify_math
from rl.statistics import maj_at_k, pass_at_k
from rl.tracking.intervals import of_prompts
from rl.types import Group, Task

CORRECTNESS = "correctness"
WORDS = (Task.TEXT, Task.UNDERSTAND)


@dataclass(slots=True)
class _Prompt:
    """Of its usable samples. votes: empty where answers are not compared."""

    scores: list[float]
    correct: list[float]
    votes: list[int | None]


@dataclass
class SeveralSamples:
    """Collects groups; ``results`` has the keys of summary.json. samples: asked of each prompt.

    A sample is right or wrong by its score where all scores of the task are 0 or 1, else by the reward ``correctness``.
    maj@k is of tasks that are answered in words and judged by ``correctness``. A failed score is no sample; a prompt with
    fewer than k others is in no mean of k.
    """

    samples: int
    _tasks: dict[str, list[_Prompt]] = field(default_factory=lambda: defaultdict(list))

    def add(self, group: Group) -> None:
        if self.samples < 2:
            return
        usable = [(each, score) for each, score in zip(group.rollouts, group.scores, strict=True) if score.usable]
        scores = [score.value for _, score in usable]
        correct = [score.parts[CORRECTNESS] for _, score in usable if CORRECTNESS in score.parts]
        votes: list[int | None] = []
        if group.prompt.task in WORDS and usable and len(correct) == len(usable) and _is_right_or_wrong(correct):
            votes = votes_of([each.text for each, _ in usable], correct, group.prompt.reference or "")
        self._tasks[str(group.prompt.task)].append(_Prompt(scores, correct, votes))

    def results(self) -> tuple[dict[str, Any], list[str]]:
        """``pass_at_k`` and ``maj_at_k``: {task: {k: {value, n, low, high, method}}}, n being prompts; and what to say of tasks
        without them."""
        passed, agreed, notes = {}, {}, []
        for task, prompts in self._tasks.items():
            right = _right(prompts)
            if right is None:
                notes.append(f"{task}: no pass@k: its scores are not 0 or 1, and no reward correctness judges it")
                continue
            passed[task] = self._means(right)
            if any(prompt.votes for prompt in prompts) and all(prompt.votes for prompt in prompts if prompt.correct):
                agreed[task] = self._means([each.correct for each in prompts], [each.votes for each in prompts])
        return {"pass_at_k": passed, "maj_at_k": agreed} if self._tasks else {}, notes

    def _means(
        self, right: Sequence[Sequence[float]], votes: Sequence[Sequence[int | None]] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Of pass@k, or with votes of maj@k."""
        found = {}
        for k in ks(self.samples):
            values = [
                pass_at_k(len(each), round(sum(each)), k) if votes is None else maj_at_k(votes[place], each, k)
                for place, each in enumerate(right)
                if len(each) >= k
            ]
            interval = of_prompts(values)
            if interval is not None:
                found[str(k)] = {"value": sum(values) / len(values), **dataclasses.asdict(interval)}
        return found


def ks(samples: int) -> list[int]:
    """1, 2, 4, ... and all of them. Example: ``ks(6)`` is ``[1, 2, 4, 6]``."""
    powers = [1 << power for power in range(samples.bit_length()) if 1 << power < samples]
    return [*powers, samples]


def votes_of(texts: Sequence[str], right: Sequence[float], reference: str) -> list[int | None]:
    """The same number for equal answers; None where a response has none.

    Right answers all equal the reference, so that they are one. Wrong ones are compared as ``rewards.verify_math`` does; grids,
    such as a sudoku's, as text.
    """
    seen: list[str] = []
    votes: list[int | None] = []
    for text, value in zip(texts, right, strict=True):
        if value == 1.0:
            votes.append(0)
            continue
        answer = extract_answer(text)
        if answer is None:
            votes.append(None)
            continue
        place = next((place for place, other in enumerate(seen) if _equal(answer, other, is_exact(reference))), None)
        if place is None:
            place = len(seen)
            seen.append(answer)
        votes.append(place + 1)
    return votes


def _equal(answer: str, other: str, exact: bool) -> bool:
    if answer.casefold().split() == other.casefold().split():
        return True
    return not exact and verify_math(f"\\boxed{{{answer}}}", other).value == 1.0


def _right(prompts: Sequence[_Prompt]) -> list[list[float]] | None:
    for of in ("scores", "correct"):
        values = [getattr(prompt, of) for prompt in prompts]
        if any(values) and all(_is_right_or_wrong(each) for each in values):
            whole = of == "scores" or all(len(p.correct) == len(p.scores) for p in prompts)
            if whole:
                return values
    return None


def _is_right_or_wrong(values: Sequence[float]) -> bool:
    return all(value in (0.0, 1.0) for value in values)

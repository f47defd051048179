"""Held-out evaluation: the numbers that say whether training helped."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rl.protocols import RunsAhead, Workers
from rl.seeds import derive_seed
from rl.tracking.intervals import interval
from rl.types import Group, Prompt, Score, WeightRef


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Example: ``Evaluation({"val/text/score": 0.4, "val/text/failed": 0.0}, groups)``."""

    metrics: Mapping[str, float]
    groups: tuple[Group, ...]


def evaluate(workers: Workers, prompts: Sequence[Prompt], weights: WeightRef, seed: int) -> Evaluation:
    """Sample and score the held-out prompts at these weights. The same seed draws the same noise at every call."""
    groups = tuple(workers.rollout_and_score(prompts, weights, seed, evaluate=True))
    return Evaluation(summarise(groups), groups)


def stream(
    workers: RunsAhead, prompts: Sequence[Prompt], weights: WeightRef, seed: int, batch_size: int
) -> Iterator[Sequence[Group]]:
    """The groups of ``evaluate``, batch after batch in the order of the prompts, so that not all are held at once.

    The next batch is sampled while the caller has one in hand. Which prompts share a batch changes nothing of a group.
    """
    starts = range(0, len(prompts), batch_size)
    begun = None
    for start in starts:
        number = workers.begin(prompts[start : start + batch_size], weights, seed, evaluate=True)
        if begun is not None:
            yield workers.finish(begun)
        begun = number
    if begun is not None:
        yield workers.finish(begun)


def evaluation_seed(seed: int) -> int:
    """Seed of every held-out evaluation of a run: before, during and after differ by their weights alone."""
    return derive_seed(seed, "val")


def summarise(groups: Sequence[Group]) -> dict[str, float]:
    """Means over all usable scores, by public metric name.

    val/{task}/score, val/{source}/score   mean value
    val/{task}/score_ci95                  half the width of the score's 95% interval (``rl.tracking.intervals``)
    val/{task}/{part}                      mean of each reward's own value, before weighting
    val/{task}/n, val/{task}/failed        usable scores, and scores that are not
    val/{task}/failed_{status}             where there were any

    A failed score is counted and is no part of a mean: it is neither a right nor a wrong answer. A task or source
    without one usable score has no mean, so its key is absent. A source with a task's name leaves the key to the task.
    """
    metrics: dict[str, float] = {}
    for source, scores in _by(groups, lambda group: group.prompt.source).items():
        if source:
            metrics |= _mean(f"val/{source}/score", (score.value for score in scores if score.usable))
    for task, scores in _by(groups, lambda group: str(group.prompt.task)).items():
        metrics |= _task_metrics(f"val/{task}", scores)
    return metrics | _widths(groups)


def _widths(groups: Sequence[Group]) -> dict[str, float]:
    by_task: dict[str, list[list[float]]] = defaultdict(list)
    for group in groups:
        by_task[str(group.prompt.task)].append([score.value for score in group.scores if score.usable])
    found = {f"val/{task}/score_ci95": interval(by_prompt) for task, by_prompt in by_task.items()}
    return {name: (one.high - one.low) / 2 for name, one in found.items() if one is not None}


def _task_metrics(name: str, scores: Sequence[Score]) -> dict[str, float]:
    usable = [score for score in scores if score.usable]
    failed = Counter(str(score.status) for score in scores if not score.usable)
    metrics = {f"{name}/n": float(len(usable)), f"{name}/failed": float(failed.total())}
    metrics |= {f"{name}/failed_{status}": float(count) for status, count in failed.items()}
    for part in sorted({part for score in usable for part in score.parts}):
        metrics |= _mean(f"{name}/{part}", (score.parts[part] for score in usable if part in score.parts))
    return metrics | _mean(f"{name}/score", (score.value for score in usable))


def _by(groups: Iterable[Group], key: Callable[[Group], str]) -> dict[str, list[Score]]:
    scores: dict[str, list[Score]] = defaultdict(list)
    for group in groups:
        scores[key(group)].extend(group.scores)
    return dict(scores)


def _mean(name: str, values: Iterable[float]) -> dict[str, float]:
    finite = [value for value in values if np.isfinite(value)]
    return {name: float(np.mean(finite))} if finite else {}

"""How sure a held-out mean is: 95% intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rl.statistics import bootstrap_interval
from rl.types import Group, Score

Z = 1.959963984540054  # 97.5% of the normal distribution
WILSON, NORMAL, BOOTSTRAP = "wilson", "normal", "bootstrap"


@dataclass(frozen=True, slots=True)
class Interval:
    """n usable scores. method: ``wilson`` where all of them are 0 or 1, one a prompt or all alike; ``normal`` of other means;
    ``bootstrap`` of what has one number a prompt that is no score, such as pass@k."""

    n: int
    low: float
    high: float
    method: str


def interval(by_prompt: Sequence[Sequence[float]]) -> Interval | None:
    """Of the mean of all scores; None where fewer than two prompts leave nothing to estimate a spread from.

    by_prompt: each prompt's scores. Several samples of one prompt are alike, so that prompts are what is counted: the
    normal interval is cluster-robust (Liang and Zeger, 1986).
    """
    values = [value for scores in by_prompt for value in scores]
    prompts = [scores for scores in by_prompt if scores]
    if not values:
        return None
    n, mean = len(values), math.fsum(values) / len(values)
    if all(value in (0.0, 1.0) for value in values) and (len(prompts) == n or mean in (0.0, 1.0)):
        return Interval(
            n, *_wilson(mean, len(prompts)), WILSON
        )  # all alike, several a prompt, leave no spread to estimate
    if len(prompts) < 2:
        return None
    squares = math.fsum(math.fsum(value - mean for value in scores) ** 2 for scores in prompts)
    error = Z * math.sqrt(squares * len(prompts) / (len(prompts) - 1)) / n
    return Interval(n, mean - error, mean + error, NORMAL)


def of_prompts(values: Sequence[float]) -> Interval | None:
    """Of the mean of one number a prompt. None where fewer than two prompts leave nothing to estimate a spread from."""
    if all(value in (0.0, 1.0) for value in values) or len(values) < 2:
        return interval([[value] for value in values])
    return Interval(len(values), *bootstrap_interval(values), BOOTSTRAP)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's score interval (J. Am. Stat. Assoc. 22, 1927): it stays within 0 and 1, also where all are right."""
    weight = Z * Z / n
    centre = (share + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    return max(0.0, min(share, centre - half)), min(
        1.0, max(share, centre + half)
    )  # rounding moves neither past the mean


def intervals(groups: Sequence[Group]) -> dict[str, Interval]:
    """By the names of ``rl.evaluation.summarise``: ``val/{task}/score``, ``val/{source}/score``, ``val/{task}/{part}``."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    tasks = {str(group.prompt.task) for group in groups}
    for group in groups:
        task, source = str(group.prompt.task), group.prompt.source
        usable = [score for score in group.scores if score.usable]
        for name in {task, *([source] if source and source not in tasks else [])}:
            found[f"val/{name}/score"].append([score.value for score in usable])
        for part, values in _parts(usable):
            found[f"val/{task}/{part}"].append(values)
    each = {name: interval(by_prompt) for name, by_prompt in found.items()}
    return {name: one for name, one in each.items() if one is not None}


def _parts(scores: Sequence[Score]) -> Iterator[tuple[str, list[float]]]:
    for part in sorted({part for score in scores for part in score.parts}):
        values = [score.parts[part] for score in scores if math.isfinite(score.parts.get(part, math.nan))]
        if values:
            yield part, values

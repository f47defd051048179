"""Which curves a report shows, and what several seeds make of one curve: the mean, and from the lowest to the highest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rl.tracking.metrics_file import curve
from rl.tracking.pages.report.charts import Series, chart
from rl.tracking.pages.report.folder import Family, RunFolder
from rl.types import Task

_WINDOW = 9  # steps of a moving mean
_ROUGH = 30  # points from which a curve of training is smoothed
_CI = "_ci95"
_POLICY = {
    "sft/loss": "fine-tuning loss",
    "actor/kl_loss": "KL to the reference",
    "actor/ppo_kl": "KL to the old policy",
    "actor/pg_clipfrac": "clip fraction",
    "actor/entropy": "entropy",
    "actor/grad_norm": "gradient norm",
    "actor/lr": "learning rate",
    "response_length/mean": "response length, tokens",
    "response_length/clip_ratio": "share of responses that ran out of canvas",
    "frac_reward_zero_std": "share of groups without a difference",
    "frac_groups_dropped": "share of groups dropped",
}
_SPEED = {"timing_s/step": "seconds a step", "perf/throughput": "tokens a second"}


def held_out(families: Sequence[Family]) -> list[str]:
    names = _names(families)
    tasks = [f"val/{task}/score" for task in Task if f"val/{task}/score" in names]
    sources = [name for name in sorted(names) if name.startswith("val/") and name.endswith("/score")]
    parts = [name for name in sorted(names) if name.startswith("val/") and name.count("/") == 2 and _is_part(name)]
    return list(_charts(families, {name: _held_out_title(name) for name in (*tasks, *sources, *parts)}, smooth=False))


def rewards(families: Sequence[Family]) -> list[str]:
    names = [name for name in sorted(_names(families)) if name.startswith("rewards/") and name.endswith("/mean")]
    titles = {"critic/rewards/mean": "reward, all tasks"}
    titles |= {name: f"reward: {name.split('/')[1]}" for name in names if name.count("/") == 2}
    return list(_charts(families, titles))


def policy(families: Sequence[Family]) -> list[str]:
    return list(_charts(families, _POLICY))


def speed(families: Sequence[Family]) -> list[str]:
    return list(_charts(families, _SPEED))


def series_of(family: Family, name: str, *, smooth: bool = False) -> list[Series]:
    """The family's curve of one metric.

    One run has a band where its intervals were logged. Several have the mean of those that have a number at a step, within a
    band from the lowest to the highest of them.
    """
    runs = [found for run in family.runs if (found := dict(zip(*curve(list(run.points), name), strict=True)))]
    if not runs:
        return []
    steps = sorted(set().union(*runs))
    at = [[run[step] for run in runs if step in run] for step in steps]
    values = [sum(some) / len(some) for some in at]
    if len(runs) > 1:
        low, high = [min(some) for some in at], [max(some) for some in at]
    else:
        low, high = _interval(family.runs, name, steps, values)
    rough = smooth and len(steps) > _ROUGH
    label = family.label
    if rough and not low:
        raw = Series(label, family.colour, steps, values, faint=True)
        return [raw, Series(label, family.colour, steps, smoothed(values))]
    if rough:
        values, low, high = smoothed(values), smoothed(low), smoothed(high)
    return [Series(label, family.colour, steps, values, low, high)]


def smoothed(values: Sequence[float]) -> list[float]:
    """Mean over the last nine values."""
    return [
        sum(values[max(0, end - _WINDOW) : end]) / len(values[max(0, end - _WINDOW) : end])
        for end in range(1, len(values) + 1)
    ]


def _interval(
    runs: Sequence[RunFolder], name: str, steps: Sequence[int], values: Sequence[float]
) -> tuple[list[float], list[float]]:
    """From half the width of a score's 95% interval, where every point has it."""
    widths = [dict(zip(*curve(list(run.points), name + _CI), strict=True)) for run in runs]
    half = next((each for each in widths if each.keys() >= set(steps)), None)
    if half is None:
        return [], []
    pairs = list(zip(steps, values, strict=True))
    low, high = (0.0, 1.0) if all(0 <= value <= 1 for value in values) else (-math.inf, math.inf)
    below = [max(low, value - half[step]) for step, value in pairs]
    return below, [min(high, value + half[step]) for step, value in pairs]


def _charts(families: Sequence[Family], titles: dict[str, str], *, smooth: bool = True) -> Iterator[str]:
    """Of what was logged; a curve that is the same as an earlier one is left out, and so is one that is 0 all along."""
    drawn: list[list[tuple[Sequence[int], Sequence[float]]]] = []
    for name, title in titles.items():
        series = [each for family in families for each in series_of(family, name, smooth=smooth)]
        points = [(each.steps, each.values) for each in series]
        if points in drawn or not any(value for _, values in points for value in values):
            continue
        drawn.append(points)
        yield chart(title, series)


def _names(families: Sequence[Family]) -> set[str]:
    return {name for family in families for run in family.runs for point in run.points for name in point.metrics}


def _held_out_title(name: str) -> str:
    _, task, part = name.split("/", 2)
    return f"{task}: held-out score" if part == "score" else f"{task}: held-out {part}"


def _is_part(name: str) -> bool:
    last = name.rsplit("/", 1)[1]
    return last not in ("score", "n", "failed") and not last.startswith("failed_") and not last.endswith(_CI)

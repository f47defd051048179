"""Where a run's seconds went, and what it survived."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from rl.tracking.metrics_file import Point, curve
from rl.tracking.pages.html import line
from rl.tracking.pages.report.folder import RunFolder

STEP = "timing_s/step"
PARTS = {
    "sampling": "timing_s/gen",
    "waiting for rewards": "perf/exposed_reward_s",
    "learning": "timing_s/learner",
    "handing over weights": "timing_s/update_weights",
}
REST, SAVING, OUTSIDE = "rest of the steps", "saving", "evaluations, starts and pauses"
_WIDTH, _HEIGHT = 600, 22
_WARNING = re.compile(r"^\S+ \S+ (?:WARNING|ERROR|CRITICAL) (\S+): (.*)$")
_STARTED = re.compile(r"^\S+ \S+ INFO \S+: unigrpo \w+: ")
_BACK = "a new learner goes on from step"
_MOST = 15  # kinds of warnings


def seconds(run: RunFolder) -> dict[str, float]:
    """Part -> seconds of the whole run, as far as it was logged. Empty where no step was."""
    steps = _total(run.points, STEP)
    if not steps:
        return {}
    parts = {label: _total(run.points, name) for label, name in PARTS.items()}
    saving = _total(run.points, "timing_s/save_checkpoint")
    wall = run.points[-1].time - min(point.time for point in run.points)
    found = {
        **parts,
        REST: max(0.0, steps - sum(parts.values())),
        SAVING: saving,
        OUTSIDE: max(0.0, wall - steps - saving),
    }
    return {label: value for label, value in found.items() if value > 0}


def overlaps(run: RunFolder) -> bool:
    """Whether a step's parts ran at once, as with rollouts ahead: they are more than the steps then."""
    return sum(_total(run.points, name) for name in PARTS.values()) > 1.02 * _total(run.points, STEP)


def bar(run: RunFolder) -> str:
    """The seconds as a bar, with a list of its parts."""
    found = seconds(run)
    whole, left, parts, words = sum(found.values()), 0.0, [], []
    labels = [*PARTS, REST, SAVING, OUTSIDE]
    for label, value in found.items():
        width, colour = _WIDTH * value / whole, labels.index(label)
        parts.append(
            f'<rect class="fill c{colour}" x="{left:.1f}" y="0" width="{width:.1f}" height="{_HEIGHT}"><title>{label}: '
            f"{duration(value)}</title></rect>"
        )
        words.append(
            f'<li><svg class="key" viewBox="0 0 10 10"><rect class="fill c{colour}" width="10" height="10"/></svg>{label} '
            f"<b>{duration(value)}</b> {100 * value / whole:.0f}%</li>"
        )
        left += width
    if not parts:
        return '<p class="soft">No step was logged.</p>'
    note = '<p class="soft">Sampling and learning ran at once: their seconds are more than the steps took.</p>'
    return (
        f'<svg class="bar" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="where the seconds went">{"".join(parts)}</svg><ul class="parts">{"".join(words)}</ul>'
        + (note if overlaps(run) else "")
    )


def duration(seconds: float) -> str:
    """Example: ``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


def faults(run: RunFolder) -> list[tuple[str, str]]:
    """(what, how often) of what the run survived; empty where nothing happened."""
    restarts = [0.0, *curve(list(run.points), "perf/worker_restarts")[1]]
    lost = sum(now - before if now >= before else now for before, now in pairwise(restarts))
    found = {
        "the run was resumed": sum(bool(_STARTED.match(each)) for each in run.log) - 1,
        "a worker was lost and restarted": lost,
        "the learner was lost; a new one went on from a checkpoint": sum(_BACK in each for each in run.log),
        "an update was skipped, its gradient not finite": _total(run.points, "actor/skipped_updates"),
        "numbers of a future that was left were set aside": len(list(run.path.glob("set_aside_*"))),
    }
    rows = [(what, f"{count:.0f} times" if count > 1 else "once") for what, count in found.items() if count >= 1]
    for status in ("timeout", "crashed", "invalid"):
        values = curve(list(run.points), f"score_status/{status}")[1]
        if any(values):
            share = 100 * sum(values) / len(values)
            rows.append(
                (f"scores that failed: {status}", f"{share:.2g}% of training's, at {sum(map(bool, values))} steps")
            )
    return rows


def warnings(run: RunFolder) -> list[tuple[str, int]]:
    """(the first of its kind, how many) of the log's warnings; those that differ in numbers alone are of one kind."""
    found: dict[str, tuple[str, int]] = {}
    for each in run.log:
        if matched := _WARNING.match(each):
            kind = re.sub(r"\d+", "#", matched[2])
            first, count = found.get(kind, (matched[2], 0))
            found[kind] = first, count + 1
    return sorted(found.values(), key=lambda each: -each[1])[:_MOST]


def faults_table(run: RunFolder) -> str:
    rows = faults(run)
    lines = "".join(f"<tr><th scope='row'>{line(what)}</th><td>{line(often)}</td></tr>" for what, often in rows)
    said = "".join(
        f"<li>{line(words, 400)}{f' <b>({count} times)</b>' if count > 1 else ''}</li>"
        for words, count in warnings(run)
    )
    table = (
        f'<table class="pairs"><tbody>{lines}</tbody></table>'
        if rows
        else "<p>Nothing was lost, resumed or skipped.</p>"
    )
    return table + (f'<p class="soft">Warnings in its log:</p><ul class="warnings">{said}</ul>' if said else "")


def _total(points: Sequence[Point], name: str) -> float:
    return sum(_of(point.metrics, name) for point in points)


def _of(metrics: Mapping[str, float], name: str) -> float:
    return max(0.0, metrics.get(name, 0.0))

"""Rules over the lengths of text answers."""

from __future__ import annotations

import statistics

from rl.health.history import History
from rl.health.rule import WINDOW, Reading, Rule, highest, mean_of

_CANVAS, _TRUNCATED = "response_length/*/canvas_share", "response_length/clip_ratio"
_FULL = 0.99  # a canvas that fits its answers from the start has no room to run into


def canvas(history: History) -> Reading | None:
    """Of the task whose answers grew most: the room that its first answers left, and how much of it is taken since."""
    taken: dict[str, float] = {}
    for task, name in history.names(_CANVAS).items():
        start = statistics.fmean(history.first(name, WINDOW))
        if history.count(name) >= 2 * WINDOW and start < _FULL:
            taken[task] = (statistics.fmean(history.last(name, WINDOW)) - start) / (1 - start)
    return highest(taken)


CANVAS = Rule(
    canvas,
    (_CANVAS,),
    limit=0.7,
    value="share of the room that the first 10 steps' answers left on the canvas and the last 10 steps' take, in the worst task",
    means="answers grow into the canvas: soon they are cut off",
    do="look at samples for filler that repeats, lower what rewards length, or raise max_new_tokens of rollout.TASK",
)
TRUNCATED = Rule(
    mean_of(_TRUNCATED),
    (_TRUNCATED,),
    limit=0.25,
    value="mean share of rollouts that ran out of canvas before their end, of 10 steps",
    means="answers are cut off before they end, and are scored as if that were the policy's fault",
    do="raise max_new_tokens of rollout.TASK, or set learner.overlong_filtering=true",
)

"""Rules over gradients: norms that jump, updates that are left out."""

from __future__ import annotations

import statistics

from rl.health.history import History
from rl.health.rule import WINDOW, Reading, Rule

_NORM, _SKIPPED = "actor/grad_norm", "actor/skipped_updates"
_BEFORE = 20  # norms that one is compared with
_ENOUGH = 8


def gradient(history: History) -> Reading | None:
    """The largest of the last norms, each over the median of those before it: a jump is remembered for some steps."""
    norms = history.last(_NORM, WINDOW + _BEFORE)
    jumps = []
    for index in range(max(_ENOUGH, len(norms) - WINDOW), len(norms)):
        usual = statistics.median(norms[max(0, index - _BEFORE) : index])
        if usual > 0:
            jumps.append(norms[index] / usual)
    return Reading(max(jumps)) if jumps else None


def skipped_updates(history: History) -> Reading | None:
    """Of ten steps, also where fewer are done: the first skipped update is no alarm."""
    skipped = history.last(_SKIPPED, WINDOW)
    return Reading(sum(count > 0 for count in skipped) / WINDOW) if skipped else None


GRADIENT = Rule(
    gradient,
    (_NORM,),
    limit=20.0,
    patience=1,
    value="largest gradient norm of 10 steps, over the median of the 20 before it",
    means="single batches pull far harder than the others: a rare reward of huge scale, a damaged row, or a policy that breaks",
    do="look at the step's samples and rewards, lower learner.max_grad_norm or learner.lr, bound the reward (rewards.curves)",
)
SKIPPED_UPDATES = Rule(
    skipped_updates,
    (_SKIPPED,),
    limit=0.1,
    patience=1,
    value="share of 10 steps that left out an update",
    means="steps have no usable group, or a gradient that is not finite: their work is lost",
    do="look at frac_groups_dropped, frac_reward_zero_std and score_status; if gradients are not finite, lower learner.lr or "
    "use float32",
)

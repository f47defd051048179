"""Rules over what an update does to the policy."""

from __future__ import annotations

import statistics

from rl.health.history import History
from rl.health.rule import FEW, WINDOW, Reading, Rule, mean_of

_RATIO, _KL, _ENTROPY, _CLIPPED = "actor/first_ratio_error", "actor/kl_loss", "actor/entropy", "actor/pg_clipfrac"
_SHORT = 5


def first_ratio(history: History) -> Reading | None:
    values = history.last(_RATIO, 1)
    return Reading(values[0]) if values else None


def kl(history: History) -> Reading | None:
    """A median: one token that was all but impossible makes a step's mean large, and says little of the policy."""
    values = history.last(_KL, WINDOW)
    return Reading(statistics.median(values)) if len(values) >= FEW else None


def entropy(history: History) -> Reading | None:
    """Of five steps: a policy that collapses soon has no groups to learn from, and so few values."""
    if history.count(_ENTROPY) < 2 * _SHORT:
        return None
    start = statistics.median(history.first(_ENTROPY, _SHORT))
    return Reading(statistics.median(history.last(_ENTROPY, _SHORT)) / start) if start > 0 else None


FIRST_RATIO = Rule(
    first_ratio,
    (_RATIO,),
    limit=0.01,
    patience=1,
    value="largest |ratio - 1| before the first update of a step that is on-policy",
    means="old and new log-probs differ under the same weights, so their masks, padding or arithmetic are not the same",
    do="look for a random module (dropout), masks that are not made from the batch's seeds, or a kernel that depends on the "
    "batch's shape; in float32 the run stops by itself",
)
KL = Rule(
    kl,
    (_KL,),
    limit=1.0,
    value="median KL to the reference of 10 steps, in nats a token",
    means="the policy runs away from the reference: its language and drawings are no longer those that it began with",
    do="lower learner.lr, raise learner.algorithm.kl_coef, or go back to an earlier checkpoint",
)
ENTROPY = Rule(
    entropy,
    (_ENTROPY,),
    limit=0.2,
    below=True,
    value="median entropy of 5 steps, as a share of that of the first 5",
    means="the policy has stopped exploring: a group's rollouts become alike, and nothing is left to compare",
    do="lower learner.lr, set learner.algorithm.entropy_coef above 0, raise the rollouts' temperature or clip_high",
)
CLIP_FRACTION = Rule(
    mean_of(_CLIPPED),
    (_CLIPPED,),
    limit=0.1,
    value="mean share of tokens whose ratio is clipped, of 10 steps",
    means="one step moves the policy further than the clip allows, so that most of its later gradient is cut off",
    do="lower learner.lr or learner.algorithm.mu, or make the step's batch larger",
)

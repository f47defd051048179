"""Rules over what the machines do: weights that are not the same, time that is waited away, workers that are lost."""

from __future__ import annotations

import statistics
from itertools import pairwise

from rl.health.history import History
from rl.health.rule import FEW, WINDOW, Reading, Rule, mean_of

_IMPORTANCE, _STALE = "actor/importance_mean", "staleness/mean"
_EXPOSED, _STEP, _RESTARTS = "perf/exposed_reward_s", "timing_s/step", "perf/worker_restarts"
_MANY = 50  # steps within which restarts are counted


def mismatch(history: History) -> Reading | None:
    values = history.last(_IMPORTANCE, WINDOW)
    return Reading(abs(statistics.fmean(values) - 1.0)) if len(values) >= FEW else None


def exposed_rewards(history: History) -> Reading | None:
    waited, whole = history.last(_EXPOSED, WINDOW), history.last(_STEP, WINDOW)
    return Reading(sum(waited) / sum(whole)) if len(whole) >= FEW and sum(whole) > 0 else None


def restarts(history: History) -> Reading | None:
    """A resumed run counts from 0 again: a count that falls starts anew."""
    counts = history.last(_RESTARTS, _MANY + 1)
    if not counts:
        return None
    counts = counts if history.count(_RESTARTS) > _MANY else [0.0, *counts]
    return Reading(sum(after - before if after >= before else after for before, after in pairwise(counts)))


MISMATCH = Rule(
    mismatch,
    (_IMPORTANCE,),
    limit=0.2,
    value="distance from 1 of the mean weight (policy now / policy that sampled) of stale rollouts, of 10 steps",
    means="the policy that samples is not the one that is trained: most of what is learned corrects for the difference",
    do="lower max_staleness or learner.lr; use sampling that the likelihood knows (top_p=1, top_k=0, cache=none)",
)
STALENESS = Rule(
    mean_of(_STALE),
    (_STALE,),
    limit=2.0,
    value="weight versions that a step's rollouts are behind, mean of 10 steps",
    means="rollouts are sampled by weights of long ago, so that the update is off-policy",
    do="lower max_staleness, set learner.algorithm.importance_cap, or add rollout workers",
)
EXPOSED_REWARDS = Rule(
    exposed_rewards,
    (_EXPOSED, _STEP),
    limit=0.25,
    value="share of 10 steps' time in which only rewards were waited for",
    means="samplers and learner stand still until rewards are scored",
    do="add cluster.reward_workers or cluster.scorer_workers, set max_staleness=1, or make the slow reward quicker: "
    "timing_s/rewards/NAME/total says which it is",
)
RESTARTS = Rule(
    restarts,
    (_RESTARTS,),
    limit=2.0,
    patience=1,
    value="worker processes that were replaced in the last 50 steps",
    means="a worker is lost again and again; its work is done twice, and cluster.restart_budget will end the run",
    do="look in the run's log for who was lost and why: memory, a reward that crashes its process, a node that goes away",
)

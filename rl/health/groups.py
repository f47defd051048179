"""Rules over groups: whether their members differ, and in what."""

from __future__ import annotations

import statistics

from rl.health.history import History
from rl.health.rule import FEW, WINDOW, Reading, Rule, highest, mean_of

_DEAD, _ALIKE, _SHARE = "frac_reward_zero_std", "rollouts/*/identical", "rewards/*/*/advantage_share"
_LONG = 2 * WINDOW  # shares of a few groups are noisy


def identical(history: History) -> Reading | None:
    """Of the task whose rollouts are most alike."""
    values = {task: history.last(name, WINDOW) for task, name in history.names(_ALIKE).items()}
    return highest({task: statistics.fmean(found) for task, found in values.items() if len(found) >= FEW})


def starving(history: History) -> Reading | None:
    """Of the reward that says least. Its sign does not matter: a reward that another one overrules is still heard."""
    values = {reward: history.last(name, _LONG) for reward, name in history.names(_SHARE).items()}
    shares = {reward: statistics.fmean(map(abs, found)) for reward, found in values.items() if len(found) >= FEW}
    where = min(shares, key=shares.__getitem__, default=None)
    return None if where is None else Reading(shares[where], where)


DEAD_GROUPS = Rule(
    mean_of(_DEAD),
    (_DEAD,),
    limit=0.7,
    value="mean share of groups whose scores are all equal, of 10 steps",
    means="most groups teach nothing: their prompts are too easy, too hard, or the reward does not tell answers apart",
    do="choose prompts of another difficulty, raise rollout.n_samples_per_prompt, set rollout.max_gen_batches above 1 or "
    "rollout.hints.share above 0, or use a reward with more values than two",
)
IDENTICAL_ROLLOUTS = Rule(
    identical,
    (_ALIKE,),
    limit=0.95,
    value="how alike a group's rollouts are in the worst task: 0 all different, 1 all the same; mean of 10 steps",
    means="a prompt gets the same answer again and again, so that its group compares nothing",
    do="raise the temperature of rollout.TASK (0 is greedy) or remask_temperature, top_p and top_k; if it came during training, "
    "see `entropy`",
)
STARVING = Rule(
    starving,
    (_SHARE,),
    limit=0.01,
    below=True,
    value="smallest mean share of the advantages' variance, without its sign, that a reward has where a group's members differ "
    "in it, of 20 steps",
    means="another reward of the task has so large a spread that this one decides nothing",
    do="standardise them within their groups (rewards.normalize), or change weights or rewards.curves; weight 0 if the reward is "
    "only to be recorded",
)

"""What each metric of a run means, in one line. The manual's page of metrics is made from it.

A name may have parts in braces: ``{task}`` is text, understand, draw or think_draw; ``{reward}`` a reward's name, or one of its
parts as NAME/PART; ``{source}`` a data source; ``{status}`` how a score ended; ``{rule}`` a health rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

METRIC_MEANINGS: Mapping[str, str] = {
    "val/{task}/score": "held-out score: mean of the evaluation's mix over all answers",
    "val/{task}/score_ci95": "half the width of the score's 95% interval",
    "val/{task}/n": "answers with a usable score",
    "val/{task}/failed": "answers whose reward failed: no part of the score",
    "val/{task}/failed_{status}": "answers whose reward failed in this way",
    "val/{task}/{reward}": "mean of one reward on held-out prompts, before weighting",
    "val/{source}/score": "held-out score on the prompts of one source",
    "critic/rewards/mean": "mean reward of the rollouts that the step learns from",
    "critic/rewards/max": "largest reward among them",
    "critic/rewards/min": "smallest reward among them",
    "rewards/{task}/mean": "mean reward of one task's rollouts",
    "rewards/{reward}/mean": "mean of one reward over its usable scores, before weighting",
    "rewards/{reward}/std": "deviation of one reward over its usable scores",
    "rewards/{reward}/{status}_rate": "share of a reward's scores that failed: timeout, crashed or invalid",
    "rewards/{task}/{reward}/advantage_share": "a reward's share of the variance of the advantages; negative: learning goes "
    "against it",
    "frac_reward_zero_std": "share of groups whose rewards are all alike: they teach nothing",
    "frac_groups_dropped": "share of groups with a failed score: they are left out",
    "score_status/{status}": "share of scores that ended so",
    "rollouts/{task}/identical": "how alike the rollouts of a group are: 0 all different, 1 all the same",
    "response_length/mean": "tokens of a response",
    "response_length/clip_ratio": "share of rollouts that ran out of canvas",
    "response_length/{task}/canvas_share": "mean share of the canvas that an answer took",
    "rollout/hints/all_wrong_before": "share of groups whose scores are all equal and low, as they were sampled",
    "rollout/hints/all_wrong_after": "the same, once hinted rollouts are among them",
    "rollout/hints/rollouts": "hinted rollouts that took the place of wrong ones",
    "rollout/gen_batches": "batches of prompts that dynamic sampling took",
    "actor/pg_loss": "the loss without its KL term",
    "actor/kl_loss": "estimated KL to the reference a scored token",
    "actor/entropy": "mean entropy of the scored tokens' distributions, in nats",
    "actor/grad_norm": "gradient norm before clipping, mean over the updates",
    "actor/lr": "learning rate of the last update",
    "actor/skipped_updates": "updates left out: no usable group, or a gradient that is not finite",
    "actor/first_ratio_error": "largest |ratio - 1| in the first inner update, where every ratio must be 1",
    "actor/ratio_max_deviation": "largest |ratio - 1| over all updates",
    "actor/ppo_kl": "mean of log(old / new) over the scored tokens",
    "actor/pg_clipfrac": "share of scored tokens whose ratio was clipped",
    "actor/importance_mean": "mean weight of stale rollouts against the weights that sampled them",
    "actor/importance_capped": "share of those weights at importance_cap",
    "actor/residual_change": "gdsd, rspo, trafl: mean change of log-likelihood a token",
    "actor/log_z": "trafl: mean constant of the prompts",
    "actor/weight_mean": "stabledrl: mean importance weight, before they are normalised",
    "actor/weight_capped": "stabledrl: share of those weights at weight_cap",
    "actor/sft_loss": "cross-entropy of a masked token of the supervised rows, mean over the updates",
    "actor/dpo_margin": "dpo: mean margin between the better and the worse of a pair",
    "actor/dpo_accuracy": "dpo: share of pairs with the better one ahead",
    "staleness/mean": "weight versions between sampling and training, mean over rollouts",
    "staleness/max": "the same, largest",
    "sft/loss": "fine-tuning loss a token, weighted by 1/t",
    "sft/loss/{task}": "the same for one task",
    "sft/token_loss": "cross-entropy of a masked token",
    "perf/throughput": "response tokens a second of the whole step; an image counts with its codes",
    "perf/images_per_s": "images a second of the whole step",
    "perf/exposed_reward_s": "seconds in which only rewards were waited for",
    "perf/worker_restarts": "workers started again since the run began",
    "perf/orchestration_s": "seconds of a step beyond its longest chain of sampling, scoring and learning",
    "perf/orchestration_share": "the same as a share of the step",
    "timing_s/step": "seconds of the whole step",
    "timing_s/gen": "seconds of sampling",
    "timing_s/reward": "seconds of scoring, whether or not anything waited",
    "timing_s/workers_chain": "seconds of the longest chain of sampling and scoring",
    "timing_s/learner": "seconds of the learner",
    "timing_s/old_log_prob": "seconds of the log-probs before the first update",
    "timing_s/ref": "seconds of the reference's log-probs",
    "timing_s/update_actor": "seconds of the inner updates",
    "timing_s/update_weights": "seconds until the workers had the new weights",
    "timing_s/save_checkpoint": "seconds of a checkpoint",
    "timing_s/rewards/{reward}/p50": "seconds of a reward an item, median",
    "timing_s/rewards/{reward}/p99": "the same, 99th percentile",
    "timing_s/rewards/{reward}/total": "seconds of a reward over all items, whether or not anything waited",
    "health/{rule}": "1 while a health rule warns, 0 while it does not",
    "health_value/{rule}": "what a health rule compares with its threshold",
}

_PARTS = {"task": "(?:text|understand|draw|think_draw)", "status": r"\w+", "rule": r"\w+", "reward": r"[^/]+(?:/[^/]+)?",
          "source": "[^/]+"}  # fmt: skip
_PATTERNS = [
    (re.compile(re.sub(r"\\{(\w+)\\}", lambda found: _PARTS[found[1]], re.escape(name))), meaning)
    for name, meaning in METRIC_MEANINGS.items()
]


def meaning_of(name: str) -> str | None:
    """The meaning of a metric that a run logged; None for one that is not ours."""
    return next((meaning for pattern, meaning in _PATTERNS if pattern.fullmatch(name)), None)

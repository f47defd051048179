"""Scored groups -> one training batch: which groups count, their advantages, and the masks of all inner updates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rl.advantages import (
    advantage_shares,
    best_and_worst,
    frac_identical,
    frac_reward_zero_std,
    group_advantages,
    most_varied,
    scores_differ,
)
from rl.config import Config, LearnerConfig
from rl.config.rewards import FailureConfig
from rl.errors import RewardError
from rl.masking import MEMBERS, PROMPTS, SCHEDULES, mask_ratios, ratio_for, spread_starts
from rl.objectives import OBJECTIVES
from rl.objectives.normalizers import NORMALIZERS
from rl.registry import resolve
from rl.seeds import SeedPath, derive_seed
from rl.types import Group, MaskDraw, Prompt, RewardCall, Rollout, RolloutStatus, ScoreStatus, Task, TrainBatch

FAILURES = (ScoreStatus.TIMEOUT, ScoreStatus.CRASHED, ScoreStatus.INVALID)


def prepare(groups: Sequence[Group], config: Config, step: int, *, weight_version: int | None = None) -> TrainBatch:
    """The rollouts of all usable groups, in order, with their advantages and mask draws.

    A group with a failed score is dropped whole: dropping only its failed members would bias the advantage. Where no
    group is usable the batch is empty, and the learner counts and skips it.

    weight_version  of the weights that are about to be trained; the batch is on-policy where they sampled all rollouts.
                    None: where all rollouts came from one version

    Raises ValueError for a rollout without response tokens, which no sampler writes.
    """
    usable = [group for group in groups if group.usable]
    algorithm = config.learner.algorithm
    pairs = OBJECTIVES[algorithm.objective].pairs
    if config.learner.drop_equal_groups or pairs:
        usable = [group for group in usable if scores_differ(group)]
    if pairs:
        usable = [best_and_worst(group) for group in usable]
    if config.learner.n_trained_per_prompt is not None:
        usable = [most_varied(group, config.learner.n_trained_per_prompt) for group in usable]
    weights = rollout_weights(usable, config.learner)
    if weights is not None and not weights.any():
        usable, weights = [], None
    rollouts = [rollout for group in usable for rollout in group.rollouts]
    for rollout in rollouts:
        if not rollout.response_mask.any():
            raise ValueError(f"rollout {rollout.index} of prompt {rollout.prompt_id!r}: no response token to train on")
    draws = mask_draws(usable, config, step)
    versions = {rollout.weight_version for rollout in rollouts}
    return TrainBatch(
        token_ids=tuple(rollout.token_ids for rollout in rollouts),
        response_mask=tuple(rollout.response_mask for rollout in rollouts),
        advantages=advantages_of(usable, config.learner).astype(np.float32),
        mask_draws=tuple(tuple(draw[n] for draw in draws) for n in range(algorithm.mu)),
        tasks=tuple(group.prompt.task for group in usable for _ in group.rollouts),
        step_maps=tuple(rollout.step_map[rollout.response_mask] for rollout in rollouts),
        confidences=_of_responses(rollouts, [rollout.confidence for rollout in rollouts]),
        entropies=_of_responses(rollouts, [rollout.entropy for rollout in rollouts]),
        on_policy=len(versions | ({weight_version} - {None})) <= 1,
        spans=tuple(rollout.spans for rollout in rollouts),
        weights=weights,
        staleness=None
        if weight_version is None
        else np.array([weight_version - rollout.weight_version for rollout in rollouts], dtype=np.int64),
        groups=np.repeat(np.arange(len(usable)), [len(group.rollouts) for group in usable]),
        supervised=supervised_rows(groups, config, step),
        supervised_seed=derive_seed(config.seed, "supervised", step),
    )


def supervised_rows(groups: Sequence[Group], config: Config, step: int) -> tuple[Prompt, ...]:
    """``learner.sft_rows`` of a step's prompts that are answered in text and have a worked answer, by chance; of failed groups
    as well, since no score is needed. Fewer where there are no more."""
    if not config.learner.sft_rows:
        return ()
    answered = {group.prompt.id: group.prompt for group in groups if teaches(group.prompt)}
    rows = sorted(answered.values(), key=lambda prompt: derive_seed(config.seed, "supervised row", step, prompt.id))
    return tuple(rows[: config.learner.sft_rows])


def teaches(prompt: Prompt) -> bool:
    """Whether ``learner.sft_rows`` may take it."""
    return prompt.task in (Task.TEXT, Task.UNDERSTAND) and bool(prompt.solution)


def _of_responses(rollouts: Sequence[Rollout], arrays: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    """Each array's part at its response tokens; empty where one is not known."""
    known = [array for array in arrays if array is not None]
    if len(known) < len(rollouts):
        return ()
    return tuple(array[rollout.response_mask] for array, rollout in zip(known, rollouts, strict=True))


def check_failures(groups: Sequence[Group], policy: FailureConfig) -> None:
    """Raises RewardError where the policy is ``fail`` and the share of failed scores is above its limit."""
    if policy.action != "fail":
        return
    scores = [score for group in groups for score in group.scores]
    failed = [score for score in scores if not score.usable]
    if len(failed) > policy.max_failed_share * len(scores):
        raise RewardError(
            f"rewards: {len(failed)} of a step's {len(scores)} scores failed, first: {failed[0].status}: "
            f"{failed[0].detail}; allowed: rewards.on_failure.max_failed_share={policy.max_failed_share:g} "
            "(action=drop only drops their groups)"
        )


def rollout_weights(groups: Sequence[Group], learner: LearnerConfig) -> np.ndarray | None:
    """[B] float32: each rollout's share in the loss, relative to the others; None where all are equal.

    The weight of its task; times its length where all tokens are to count the same (``normalizer=token_mean``); 0 where it
    ran out of canvas and ``overlong_filtering`` is on (DAPO, arXiv 2503.14476, section 3.4).
    """
    by_tokens = NORMALIZERS[learner.algorithm.normalizer].by_tokens
    if not (by_tokens or learner.task_weights or learner.overlong_filtering):
        return None
    weights = [
        learner.task_weights.get(group.prompt.task, 1.0)
        * (int(rollout.response_mask.sum()) if by_tokens else 1)
        * (0 if learner.overlong_filtering and rollout.status is RolloutStatus.TRUNCATED else 1)
        for group in groups
        for rollout in group.rollouts
    ]
    return np.array(weights, dtype=np.float32)


def advantages_of(groups: Sequence[Group], learner: LearnerConfig) -> np.ndarray:
    """[B] float64: of all rollouts of usable groups, in order, as the objective uses them."""
    options = {"scale_by_std": learner.scale_advantages_by_std, "baseline": learner.advantage_baseline}
    change = resolve(OBJECTIVES[learner.algorithm.objective].advantages)
    if change is not None:
        rows = [change(group_advantages([group], **options)) for group in groups]
        return np.concatenate(rows) if rows else np.zeros(0)
    return group_advantages(groups, **options)


def mask_draws(groups: Sequence[Group], config: Config, step: int) -> list[list[MaskDraw]]:
    """B rows (rollouts) of mu draws, for all groups in order.

    By default a schedule starts at a point of its own for each prompt, so that a step covers all ratios at once; the group's
    members share it, so that they are compared at equal ratios. Where it is spread over the prompts, those of a task share a
    circle; where it is spread over the members, they do. Which tokens are masked is each rollout's own draw.
    """
    by_prompt = _starts(groups, config, step)
    return [row for group in groups for row in _group_draws(group, config, step, by_prompt.get(group.prompt.id))]


def _starts(groups: Sequence[Group], config: Config, step: int) -> dict[str, int | None]:
    """Prompt id -> its starting point, where the schedule is spread over the prompts of a task."""
    algorithm = config.learner.algorithm
    if SCHEDULES[algorithm.schedule].spread != PROMPTS:
        return {}
    found: dict[str, int | None] = {}
    for task in Task:
        ids = [group.prompt.id for group in groups if group.prompt.task is task]
        seed = derive_seed(config.seed, "mask starts", step, task)
        found |= zip(ids, spread_starts(algorithm.schedule, len(ids), algorithm.mu, seed), strict=True)
    return found


def _group_draws(group: Group, config: Config, step: int, start: int | None) -> list[list[MaskDraw]]:
    algorithm, where = config.learner.algorithm, (step, group.prompt.id)
    schedule, mu, seed = SCHEDULES[algorithm.schedule], algorithm.mu, derive_seed(config.seed, "mask ratios", *where)
    starts = [start] * len(group.rollouts)
    if schedule.spread == MEMBERS:
        starts = spread_starts(algorithm.schedule, len(starts), mu, seed)
    ratios = {
        first: mask_ratios(algorithm.schedule, mu, seed, total=schedule.total, start=first) for first in {*starts}
    }
    patterns, block = SeedPath(config.seed, "mask pattern", *where), algorithm.spg_block_length.get(group.prompt.task)
    rows = []
    for rollout, first in zip(group.rollouts, starts, strict=True):
        length = int(rollout.response_mask.sum())
        blocks = () if schedule.states is None else sampled_blocks(rollout, group.prompt.task, config)
        rows.append(
            [
                MaskDraw(patterns.derive(rollout.index, n), ratio_for(algorithm.schedule, ratio, length), block, blocks)
                for n, ratio in enumerate(ratios[first])
            ]
        )
    return rows


def sampled_blocks(rollout: Rollout, task: Task, config: Config) -> tuple[int, ...]:
    """Response tokens in each block that the sampler filled, in order: text by its block length, the last one cut at the end of
    the text; an image is one block. A block counts without what was given in it; one that was given whole is none."""
    written = np.flatnonzero(rollout.response_mask)
    if task is Task.DRAW:
        return (len(written),)
    sampling = getattr(config.rollout, task)
    size = sampling.think.block_length if task is Task.THINK_DRAW else sampling.block_length
    start, stop = written[0], written[-1] + 1
    if rollout.spans:
        start, stop = rollout.spans[0].start, rollout.spans[0].stop
    text = np.bincount((written[written < stop] - start) // size)
    rest = int((written >= stop).sum())
    return (*text[text > 0].tolist(), *([rest] if rest else []))


def canvases(config: Config) -> dict[str, int]:
    """By task that is answered in text: the tokens that a training rollout may take."""
    return {task: getattr(config.rollout, task).max_new_tokens for task in (Task.TEXT, Task.UNDERSTAND)}


def reward_metrics(groups: Sequence[Group], canvas: Mapping[str, int] | None = None) -> dict[str, float]:
    """Numbers about one step's rollouts and scores, by public metric name. canvas: see ``canvases``.

    critic/rewards/mean|max|min   over the rollouts of usable groups: what the step learns from
    rewards/{task}/mean           the same, by task
    rewards/{name}/mean|std       each reward's own value before weighting, over all usable scores
    rewards/{task}/{name}/advantage_share  a reward's mean share of the advantages' variance, over the usable groups whose
                                  members differ in it; where a task has several weighted rewards
    rewards/{name}/{status}_rate  share of a reward's items that failed: timeout, crashed, invalid
    timing_s/rewards/{name}/{what} seconds an item: p50 and p99; total: of all items, whether or not anything waited
    frac_reward_zero_std          share of the usable groups whose scores are all equal
    frac_groups_dropped           share of groups with a failed score
    score_status/{status}         share of all scores with each status
    response_length/mean          response tokens, over all rollouts
    response_length/clip_ratio    share of rollouts that ran out of canvas
    response_length/{task}/canvas_share  mean share of the canvas that its answers took; only with ``canvas``
    rollouts/{task}/identical     how alike a group's rollouts are: 0 all different, 1 all the same; mean over the groups

    A mean of nothing is absent: a failed score is never a silent 0.
    """
    if not groups:
        return {}
    usable = [group for group in groups if group.usable]
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    return {
        **_value_metrics(usable),
        **_part_metrics(groups),
        **_call_metrics(groups),
        **_status_metrics(groups),
        **_share_metrics(usable),
        **_length_metrics(rollouts),
        **_canvas_metrics(groups, canvas or {}),
        **_identical_metrics(groups),
        "frac_reward_zero_std": frac_reward_zero_std(usable),
        "frac_groups_dropped": 1 - len(usable) / len(groups),
    }


def _value_metrics(usable: Sequence[Group]) -> dict[str, float]:
    by_task: dict[str, list[float]] = defaultdict(list)
    for group in usable:
        by_task[str(group.prompt.task)].extend(score.value for score in group.scores)
    values = [value for task in by_task.values() for value in task]
    if not values:
        return {}
    metrics = {f"rewards/{task}/mean": _mean(of_task) for task, of_task in sorted(by_task.items())}
    total = {"mean": _mean(values), "max": max(values), "min": min(values)}
    return metrics | {f"critic/rewards/{name}": value for name, value in total.items()}


def _part_metrics(groups: Sequence[Group]) -> dict[str, float]:
    parts: dict[str, list[float]] = defaultdict(list)
    for score in (score for group in groups for score in group.scores if score.usable):
        for name, value in score.parts.items():
            if np.isfinite(value):
                parts[name].append(value)
    means = {f"rewards/{name}/mean": _mean(values) for name, values in sorted(parts.items())}
    return means | {f"rewards/{name}/std": float(np.std(values)) for name, values in sorted(parts.items())}


def _share_metrics(usable: Sequence[Group]) -> dict[str, float]:
    shares: dict[str, list[float]] = defaultdict(list)
    for group in usable:
        if len(group.scores[0].terms) > 1:
            for name, share in advantage_shares(group).items():
                shares[f"rewards/{group.prompt.task}/{name}/advantage_share"].append(share)
    return {name: _mean(values) for name, values in sorted(shares.items())}


def _canvas_metrics(groups: Sequence[Group], canvas: Mapping[str, int]) -> dict[str, float]:
    shares: dict[str, list[float]] = defaultdict(list)
    for group in groups:
        if size := canvas.get(group.prompt.task):
            shares[str(group.prompt.task)] += [int(each.response_mask.sum()) / size for each in group.rollouts]
    return {f"response_length/{task}/canvas_share": _mean(values) for task, values in sorted(shares.items())}


def _identical_metrics(groups: Sequence[Group]) -> dict[str, float]:
    by_task: dict[str, list[float]] = defaultdict(list)
    for group in groups:
        by_task[str(group.prompt.task)].append(frac_identical(group))
    return {f"rollouts/{task}/identical": _mean(values) for task, values in sorted(by_task.items())}


def _call_metrics(groups: Sequence[Group]) -> dict[str, float]:
    calls: dict[str, list[RewardCall]] = defaultdict(list)
    for score in (score for group in groups for score in group.scores):
        for name, call in score.calls.items():
            calls[name].append(call)
    metrics: dict[str, float] = {}
    for name, found in sorted(calls.items()):
        seconds = [call.seconds for call in found]
        p50, p99 = np.percentile(seconds, (50, 99))
        timed = {"p50": float(p50), "p99": float(p99), "total": sum(seconds)}
        metrics |= {f"timing_s/rewards/{name}/{what}": value for what, value in timed.items()}
        metrics |= {f"rewards/{name}/{status}_rate": _mean(c.status == status for c in found) for status in FAILURES}
    return metrics


def _status_metrics(groups: Sequence[Group]) -> dict[str, float]:
    statuses = [score.status for group in groups for score in group.scores]
    return {f"score_status/{status}": _mean(found == status for found in statuses) for status in ScoreStatus}


def _length_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    return {
        "response_length/mean": _mean(int(rollout.response_mask.sum()) for rollout in rollouts),
        "response_length/clip_ratio": _mean(rollout.status is RolloutStatus.TRUNCATED for rollout in rollouts),
    }


def _mean(values: Iterable[float]) -> float:
    """0 where there is nothing: only for counts and shares, whose empty case is that."""
    found = list(values)
    return float(np.mean(found)) if found else 0.0

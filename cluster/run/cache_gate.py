"""A run trains with an approximate key-value cache only where that writes nearly what exact sampling writes.

Training prompts are answered greedily by the weights that the run starts from, with the cache and without, by workers as
the run itself has them. The report is logged and printed; where it misses a bound, the run stops before its first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest

import numpy as np

from rl.config import CacheGateConfig, Config, RolloutConfig
from rl.errors import ConfigError
from rl.protocols import Tracker
from rl.seeds import derive_seed
from rl.types import Group, Prompt, Task, TextSampling


@dataclass(frozen=True, slots=True)
class Report:
    """agreement      share of the responses' tokens that are the same, place by place; 0..1
    reward_exact   mean over the prompts, NaN where no score is usable
    reward_cached  the same with the cache
    prompts        how many were answered
    """

    agreement: float
    reward_exact: float
    reward_cached: float
    prompts: int

    def passes(self, bounds: CacheGateConfig) -> bool:
        drop = self.reward_exact - self.reward_cached
        return self.agreement >= bounds.min_agreement and drop <= bounds.max_reward_drop  # NaN is no pass

    def metrics(self) -> dict[str, float]:
        found = {"agreement": self.agreement, "reward_exact": self.reward_exact, "reward_cached": self.reward_cached}
        return {f"cache/{name}": value for name, value in found.items() if np.isfinite(value)}


def check(config: Config, sources: Sequence[Sequence[Prompt]], tracker: Tracker) -> Report | None:
    """Measure and judge; None where no training rollout uses a cache. sources: the training prompts.

    Raises ConfigError where the cache misses a bound of ``rollout.cache_gate``.
    """
    cached = {task: sampling.cache for task, sampling in texts(config.rollout).items() if sampling.cache != "none"}
    prompts = calibration_set(sources, set(cached), config.rollout.cache_gate.prompts)
    if not prompts:
        return None
    settings = ", ".join(f"rollout.{task}.cache={cached[task]}" for task in sorted({prompt.task for prompt in prompts}))
    tracker.phase(f"comparing {settings} with exact sampling")
    report = compare(
        answers(with_cache(config, exact=True), prompts), answers(with_cache(config, exact=False), prompts)
    )
    tracker.log(0, report.metrics())
    bounds = config.rollout.cache_gate
    found = (
        f"{settings}: on {report.prompts} training prompts {report.agreement:.3f} of the greedy tokens agree (at least "
        f"{bounds.min_agreement:g}), the mean reward is {report.reward_cached:.3f} against {report.reward_exact:.3f} "
        f"without (at most {bounds.max_reward_drop:g} less)"
    )
    if not report.passes(bounds):
        raise ConfigError(
            f"{found}: not close enough to train with; set cache=none, or other bounds in rollout.cache_gate"
        )
    tracker.phase(found)
    return report


def texts(rollout: RolloutConfig) -> dict[Task, TextSampling]:
    """The sampling of text of each task that writes some."""
    return {Task.TEXT: rollout.text, Task.UNDERSTAND: rollout.understand, Task.THINK_DRAW: rollout.think_draw.think}


def calibration_set(sources: Sequence[Sequence[Prompt]], tasks: set[Task], count: int) -> list[Prompt]:
    """The first prompts of these tasks, sources in turn."""
    turns = zip_longest(*([prompt for prompt in source if prompt.task in tasks] for source in sources))
    return list(islice((prompt for prompt in chain.from_iterable(turns) if prompt is not None), count))


def with_cache(config: Config, *, exact: bool) -> Config:
    """Training rollouts as this config has them, but greedy, one a prompt, and on request without a cache."""
    greedy = {
        task: replace(sampling, temperature=0.0, cache="none" if exact else sampling.cache)
        for task, sampling in texts(config.rollout).items()
    }
    think_draw = replace(config.rollout.think_draw, think=greedy[Task.THINK_DRAW])
    rollout = replace(
        config.rollout,
        n_samples_per_prompt=1,
        n_samples_by_task={},
        text=greedy[Task.TEXT],
        understand=greedy[Task.UNDERSTAND],
        think_draw=think_draw,
    )
    return replace(config, rollout=rollout)


def compare(exact: Sequence[Group], cached: Sequence[Group]) -> Report:
    """The same prompts, in the same order."""
    same = total = 0
    for left, right in zip(exact, cached, strict=True):
        first, second = (group.rollouts[0].token_ids[group.rollouts[0].response_mask] for group in (left, right))
        same += int((first[: len(second)] == second[: len(first)]).sum())
        total += max(len(first), len(second))
    return Report(same / max(1, total), _mean_reward(exact), _mean_reward(cached), len(exact))


def _mean_reward(groups: Sequence[Group]) -> float:
    values = [score.value for group in groups for score in group.scores if score.usable]
    return float(np.mean(values)) if values else float("nan")


def answers(config: Config, prompts: Sequence[Prompt]) -> list[Group]:
    from cluster.run.session import session

    with session(config, train=False) as parts:
        weights = parts.workers.update_weights(parts.learner, 0)
        return parts.workers.rollout_and_score(prompts, weights, derive_seed(config.seed, "cache gate"))

"""The reward worker: scores one group at a time. Nothing here knows Ray, as in ``cluster.rollout``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from rewards.mix import RewardMix
from rewards.shaping import shaping_from
from rl.config import Config
from rl.threads import torch_threads
from rl.types import Prompt, RewardItem, Rollout, Score


def seconds_of(groups: Iterable[Sequence[Score]]) -> float:
    """What scoring took, added up over all items: wherever it ran, and whether or not anything waited for it."""
    return sum(score.seconds for scores in groups for score in scores)


class RewardWorker:
    """Scores by the mix of training, or of held-out evaluation."""

    def __init__(self, config: Config) -> None:
        custom = dataclasses.asdict(config.custom_reward_function)
        policy = config.rewards.on_failure
        attempts = policy.attempts if policy.action == "retry" else 1
        self._train = RewardMix(
            config.rewards.mix,
            config.rewards.settings,
            custom,
            shaping=shaping_from(dataclasses.asdict(config.rewards)),
            attempts=attempts,
        )
        self._evaluation = RewardMix(config.evaluation.mix, config.rewards.settings, custom, self._train.rewards)

    def score(self, prompt: Prompt, rollouts: Sequence[Rollout], evaluate: bool = False) -> tuple[Score, ...]:
        """One score a rollout, in their order. A reward that fails gives a score that says so; it does not raise."""
        mix = self._evaluation if evaluate else self._train
        with torch_threads(1):
            return tuple(mix.score([RewardItem(prompt, rollout.text, rollout.image) for rollout in rollouts]))

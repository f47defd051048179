"""The reward worker and the model reward worker: one group at a time. Nothing here knows Ray.

Some rewards need a model reward worker (``cluster.plan.layout.rewards_apart``): those on a GPU, and those that
``rewards.scorers`` names. A reward worker scores the others, and puts all of them together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence

from cluster.plan.layout import rewards_apart
from rewards.mix import Mix, RewardMix
from rewards.sandbox.kernel import offers
from rewards.shaping import Shaping
from rl.config import Config
from rl.threads import torch_threads
from rl.types import Prompt, RewardItem, Rollout, Score

Parts = Mapping[str, Score]  # one rollout's, by reward


def seconds_of(groups: Iterable[Sequence[Score]]) -> float:
    """What scoring took, added up over all items: wherever it ran, and whether or not anything waited for it."""
    return sum(score.seconds for scores in groups for score in scores)


class RewardWorker:
    """Scores by the mix of training, or of held-out evaluation. elsewhere: rewards that model reward workers score."""

    def __init__(self, config: Config, elsewhere: Collection[str] = ()) -> None:
        rules = config.rewards
        shaping = Shaping(rules.curves, rules.gates, frozenset(rules.normalize))
        self._train, self._evaluation = _mixes(config, config.rewards.mix, config.evaluation.mix, shaping, elsewhere)

    def score(
        self, prompt: Prompt, rollouts: Sequence[Rollout], evaluate: bool = False, known: Sequence[Parts] = ()
    ) -> tuple[Score, ...]:
        """One score a rollout, in their order. A reward that fails gives a score that says so; it does not raise.

        known: each one's scores by a model reward worker.
        """
        mix = self._evaluation if evaluate else self._train
        with torch_threads(1):
            return tuple(mix.score(_items(prompt, rollouts), known))


class ModelRewardWorker:
    """Scores the rewards that need a model reward worker, and no others."""

    def __init__(self, config: Config) -> None:
        self._names = rewards_apart(config)
        train, evaluation = (self._own(mix) for mix in (config.rewards.mix, config.evaluation.mix))
        self._train, self._evaluation = _mixes(config, train, evaluation)

    def parts(self, prompt: Prompt, rollouts: Sequence[Rollout], evaluate: bool = False) -> tuple[Parts, ...]:
        """One a rollout, in their order: its scores by reward."""
        mix = self._evaluation if evaluate else self._train
        with torch_threads(1):
            return tuple(mix.parts(_items(prompt, rollouts), only=self._names))

    def _own(self, mix: Mix) -> Mix:
        own = {task: {name: weights[name] for name in weights if name in self._names} for task, weights in mix.items()}
        return {task: weights for task, weights in own.items() if weights}


def needs_model_worker(config: Config, prompt: Prompt, evaluate: bool) -> list[str]:
    """Names of this row's rewards that need a model reward worker; empty where none does."""
    mix = config.evaluation.mix if evaluate else config.rewards.mix
    names = prompt.rewards or mix.get(str(prompt.task), {})
    elsewhere = rewards_apart(config)
    return [name for name in names if name in elsewhere]


def _mixes(
    config: Config, train: Mix, evaluation: Mix, shaping: Shaping | None = None, elsewhere: Collection[str] = ()
) -> tuple[RewardMix, RewardMix]:
    """Of training, and of evaluation with the same models."""
    offers.check(config.rewards.sandbox)  # here too: a worker may be on another machine than the run's own process
    custom = dataclasses.asdict(config.custom_reward_function)
    policy = config.rewards.on_failure
    made = RewardMix(
        train,
        config.rewards.settings,
        custom,
        shaping=shaping,
        attempts=policy.attempts if policy.action == "retry" else 1,
        elsewhere=elsewhere,
    )
    return made, RewardMix(evaluation, config.rewards.settings, custom, made.rewards, elsewhere=elsewhere)


def _items(prompt: Prompt, rollouts: Sequence[Rollout]) -> list[RewardItem]:
    return [RewardItem(prompt, rollout.text, rollout.image) for rollout in rollouts]

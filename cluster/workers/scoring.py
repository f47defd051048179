"""Scoring over Ray: two pools, and the groups on their way through them.

A group with a reward that needs a model reward worker goes to one of those first. Every group goes to a reward worker,
which scores what is left and puts all of its scores together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from cluster.actors.call import Call
from cluster.actors.pool import ActorPool
from cluster.workers.call_sizes import SCORING_S, CallSizes, slowest_first
from cluster.workers.reward import needs_model_worker
from cluster.workers.score_calls import ToScore, model_score_call, score_call
from rl.config import Config
from rl.types import Prompt


class Scoring:
    """model_rewards: the pool of model reward workers; rewards: that of reward workers. Their owner closes both.

    sizes, model_sizes: of the calls of each.
    """

    def __init__(self, config: Config, model_rewards: ActorPool, rewards: ActorPool) -> None:
        self._config, self.model_rewards, self.rewards = config, model_rewards, rewards
        policy = config.rewards.on_failure
        attempts = policy.attempts if policy.action == "retry" else 1
        self._score_call = partial(score_call, overdue_attempts=attempts)
        self._model_score_call = partial(model_score_call, overdue_attempts=attempts, config=config)
        self.sizes, self.model_sizes = CallSizes(SCORING_S), CallSizes(SCORING_S)

    @property
    def waiting(self) -> int:
        """Calls that no worker has taken yet."""
        return self.model_rewards.waiting + self.rewards.waiting

    def slowest_first(self, prompts: Sequence[Prompt], evaluate: bool) -> list[int]:
        """An order in which to sample: first what takes longest to score."""
        return slowest_first(prompts, evaluate, self.model_sizes, self.sizes)

    def submit(self, groups: ToScore) -> None:
        """To model reward workers, those that need one; to reward workers, the others."""
        needs = [bool(needs_model_worker(self._config, prompt, groups.evaluate)) for prompt in groups.prompts]
        chosen = groups.only([at for at, needed in enumerate(needs) if needed])
        _submit(self.model_rewards, chosen, self._model_score_call, self.model_sizes)
        chosen = groups.only([at for at, needed in enumerate(needs) if not needed])
        _submit(self.rewards, chosen, self._score_call, self.sizes)

    def drive(self, ready: Collection[Any]) -> None:
        """Take the calls that are finished: groups go on to reward workers, or are scored."""
        for done in self.model_rewards.collect(ready):
            groups: ToScore = done.call.key
            if done.value is None:
                self.model_rewards.submit(*map(self._model_score_call, groups.one_by_one()))
                continue
            for index, scores in zip(groups.indices, done.value, strict=True):
                groups.batch.model_scored(index, scores)
                self.model_sizes.measured(groups.batch.prompts[index], groups.evaluate, scores.seconds)
            self.rewards.submit(self._score_call(groups.with_model_scored(done.value, done.ref)))
        for done in self.rewards.collect(ready):
            groups = done.call.key
            if done.value is None:
                self.rewards.submit(*map(self._score_call, groups.one_by_one()))
                continue
            for index, scores in zip(groups.indices, done.value, strict=True):
                groups.batch.scored(index, scores)
                self.sizes.measured(groups.batch.prompts[index], groups.evaluate, scores.seconds)


def _submit(pool: ActorPool, groups: ToScore, call: Callable[[ToScore], Call], sizes: CallSizes) -> None:
    pool.submit(*(call(groups.only(these)) for these in sizes.calls(groups.prompts, groups.evaluate)))

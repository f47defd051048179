"""Workers in this process: the same code and the same numbers as over Ray (``cluster.workers.on_ray``), for a debugger."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

from cluster.weights.digest import digest, require_finite
from cluster.workers.reward import RewardWorker, seconds_of
from cluster.workers.rollout import RolloutWorker
from rl.config import Config
from rl.protocols import Learner
from rl.types import Group, Prompt, WeightRef


class InlineWorkers:
    """Implements ``rl.protocols.RunsAhead`` without Ray: group after group, each scored when it is sampled."""

    def __init__(self, config: Config) -> None:
        self._rollout = RolloutWorker(config)
        self._reward = RewardWorker(config)
        self._timings: Mapping[str, float] = {}
        self._begun: deque[tuple[int, list[Group], Mapping[str, float]]] = deque()

    def update_weights(self, learner: Learner, version: int) -> WeightRef:
        weights = learner.weights()
        ref = WeightRef(version, digest(weights))
        require_finite(weights, version)
        self._rollout.load_weights(ref, weights)
        return ref

    def rollout_and_score(
        self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False
    ) -> list[Group]:
        groups, rollout_s, reward_s = [], 0.0, 0.0
        for prompt in prompts:
            began = time.perf_counter()
            rollouts = self._rollout.rollout(prompt, weights, seed, evaluate)
            sampled = time.perf_counter()
            groups.append(Group(prompt, rollouts, self._reward.score(prompt, rollouts, evaluate)))
            rollout_s += sampled - began
            reward_s += time.perf_counter() - sampled
        self._timings = {
            "timing_s/gen": rollout_s,
            "timing_s/reward": seconds_of(group.scores for group in groups),
            "perf/exposed_reward_s": reward_s,
        }
        return groups

    def begin(self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False) -> int:
        """There is nobody else to do it meanwhile: it is done here and now, at these weights, as it would be elsewhere."""
        groups = self.rollout_and_score(prompts, weights, seed, evaluate=evaluate)
        number = self._begun[-1][0] + 1 if self._begun else 0
        self._begun.append((number, groups, self._timings))
        return number

    def finish(self, number: int) -> list[Group]:
        while True:
            found, groups, self._timings = self._begun.popleft()
            if found == number:
                return groups

    def cancel(self) -> None:
        self._begun.clear()

    def timings(self) -> Mapping[str, float]:
        return self._timings

    def close(self) -> None:
        """Nothing to give back."""

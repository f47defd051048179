"""Workers over Ray: a pool that samples and a pool that scores, driven by one loop.

The groups do not depend on how many workers there are, on which of them did what, or on which died meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from cluster.pool import ActorPool, Call
from cluster.reward import RewardWorker, seconds_of
from cluster.rollout import RolloutWorker
from cluster.session import Placement, enter
from cluster.weights import Weights, digest
from rl.config import Config
from rl.errors import WorkerError
from rl.protocols import Learner
from rl.types import Group, Prompt, Rollout, Score, WeightRef


class RolloutActor:
    """A ``RolloutWorker`` elsewhere, made at its first call: what a constructor raises, Ray passes on only as text."""

    def __init__(self, config: Config, name: str, folder: str) -> None:
        self._config, self._name, self._folder = config, name, folder
        self._made: RolloutWorker | None = None

    def ready(self) -> bool:
        return self._worker() is not None

    def load_weights(self, ref: WeightRef, weights: Weights) -> None:
        self._worker().load_weights(ref, weights)

    def rollout(self, prompt: Prompt, weights: WeightRef, seed: int, evaluate: bool = False) -> tuple[Rollout, ...]:
        return self._worker().rollout(prompt, weights, seed, evaluate)

    def _worker(self) -> RolloutWorker:
        if self._made is None:
            enter(self._folder)
            self._made = RolloutWorker(self._config, self._name)
        return self._made


class RewardActor:
    """A ``RewardWorker`` elsewhere, made as a ``RolloutActor``'s is."""

    def __init__(self, config: Config, folder: str, secrets: Mapping[str, str]) -> None:
        self._config, self._folder = config, folder
        os.environ.update(secrets)
        self._made: RewardWorker | None = None

    def ready(self) -> bool:
        return self._worker() is not None

    def score(self, prompt: Prompt, rollouts: Sequence[Rollout], evaluate: bool) -> tuple[Score, ...]:
        return self._worker().score(prompt, rollouts, evaluate)

    def _worker(self) -> RewardWorker:
        if self._made is None:
            enter(self._folder)
            self._made = RewardWorker(self._config)
        return self._made


class RayWorkers:
    """Implements ``rl.protocols.Workers``. Starts its actors at once; ``wait_ready`` waits until they serve."""

    def __init__(self, config: Config, placement: Placement) -> None:
        cluster = config.cluster
        rollout_class = ray.remote(**placement.rollout)(RolloutActor)
        reward_class = ray.remote(**placement.reward)(RewardActor)
        self._rollouts = ActorPool(
            "rollout worker",
            lambda index: rollout_class.remote(config, f"rollout worker {index}", placement.folder),
            cluster.rollout_workers,
            call_deadline_s=cluster.rollout_deadline_s,
            start_deadline_s=cluster.start_deadline_s,
        )
        self._rewards = ActorPool(
            "reward worker",
            lambda index: reward_class.remote(config, placement.folder, placement.secrets),
            cluster.reward_workers,
            call_deadline_s=cluster.reward_deadline_s,
            start_deadline_s=cluster.start_deadline_s,
        )
        self._served: WeightRef | None = None
        self._timings: dict[str, float] = {}

    def wait_ready(self) -> None:
        self._rollouts.wait_ready()
        self._rewards.wait_ready()

    def update_weights(self, learner: Learner, version: int) -> WeightRef:
        """One copy in the object store; every worker checks the digest of what it read there."""
        weights = learner.weights()
        ref = WeightRef(version, digest(weights))
        stored = ray.put(weights)
        self._rollouts.prepare(lambda actor: actor.load_weights.remote(ref, stored), f"loading weights {version}")
        self._served = ref
        return ref

    def rollout_and_score(
        self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False
    ) -> list[Group]:
        if weights != self._served:
            served = "none" if self._served is None else self._served.version
            raise WorkerError(f"weights {weights.version}: the workers serve {served}; call update_weights first")
        step = _Step(self._rollouts, self._rewards, prompts)
        groups = step.run(weights, seed, evaluate)
        restarts = float(self._rollouts.restarts + self._rewards.restarts)
        self._timings = {**step.timings(), "perf/worker_restarts": restarts}
        return groups

    def timings(self) -> Mapping[str, float]:
        return self._timings

    def close(self) -> None:
        self._rollouts.close()
        self._rewards.close()


class _Step:
    """One ``rollout_and_score``: prompts -> rollouts -> scores, each group on its own way."""

    def __init__(self, rollouts: ActorPool, rewards: ActorPool, prompts: Sequence[Prompt]) -> None:
        self._pools = (rollouts, rewards)
        self._prompts = prompts
        self._rollouts: dict[int, tuple[Rollout, ...]] = {}
        self._scores: dict[int, tuple[Score, ...]] = {}
        self._began = self._sampled = self._scored = time.perf_counter()

    def run(self, weights: WeightRef, seed: int, evaluate: bool) -> list[Group]:
        rollouts, rewards = self._pools
        for index, prompt in enumerate(self._prompts):
            rollouts.submit(_rollout_call(index, prompt, weights, seed, evaluate))
        while rollouts.busy or rewards.busy:
            ready = self._wait()
            for call, sampled in rollouts.collect(ready):
                self._rollouts[call.key] = sampled
                self._sampled = time.perf_counter()
                rewards.submit(_score_call(call.key, self._prompts[call.key], sampled, evaluate))
            for call, scores in rewards.collect(ready):
                self._scores[call.key] = scores
        self._scored = time.perf_counter()
        return [Group(prompt, self._rollouts[i], self._scores[i]) for i, prompt in enumerate(self._prompts)]

    def timings(self) -> dict[str, float]:
        """exposed: seconds that only rewards were waited for; the rest of their time hid behind sampling."""
        return {
            "timing_s/gen": self._sampled - self._began,
            "timing_s/reward": seconds_of(self._scores.values()),
            "perf/exposed_reward_s": self._scored - self._sampled,
        }

    def _wait(self) -> set[Any]:
        refs = [ref for pool in self._pools for ref in pool.refs]
        seconds = min(pool.seconds_left() for pool in self._pools)
        ray.wait(refs, num_returns=1, timeout=max(0.0, seconds))
        return set(ray.wait(refs, num_returns=len(refs), timeout=0)[0])


def _rollout_call(index: int, prompt: Prompt, weights: WeightRef, seed: int, evaluate: bool) -> Call:
    return Call(index, f"sampling {prompt.id}", lambda actor: actor.rollout.remote(prompt, weights, seed, evaluate))


def _score_call(index: int, prompt: Prompt, rollouts: tuple[Rollout, ...], evaluate: bool) -> Call:
    return Call(index, f"scoring {prompt.id}", lambda actor: actor.score.remote(prompt, rollouts, evaluate))

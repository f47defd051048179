"""A batch of prompts on its way through the workers: prompts -> rollouts -> scores, each group on its own way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from cluster.workers.reward import Parts, seconds_of
from rl.types import Group, Prompt, Rollout, Score, WeightRef

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """What a worker made, who it was, and the seconds that the work itself took there."""

    value: T
    worker: str
    seconds: float

    @staticmethod
    def of(worker: str, work: Callable[[], T]) -> Timed[T]:
        began = time.perf_counter()
        value = work()
        return Timed(value, worker, time.perf_counter() - began)


class BatchInFlight:
    """weights: those at which what is not sampled yet will be sampled. seed: of all its rollouts."""

    def __init__(self, prompts: Sequence[Prompt], weights: WeightRef, evaluate: bool, seed: int) -> None:
        self.prompts, self.weights, self.evaluate, self.seed = prompts, weights, evaluate, seed
        self._rollouts: dict[int, Timed[tuple[Rollout, ...]]] = {}
        self._model_scores: dict[int, Timed[tuple[Parts, ...]]] = {}
        self._scores: dict[int, Timed[tuple[Score, ...]]] = {}
        self._began = self._wanted = self._sampled = self._scored = time.perf_counter()

    @property
    def done(self) -> bool:
        return len(self._scores) == len(self.prompts)

    def wanted_now(self) -> None:
        """From here on somebody waits for it."""
        self._wanted = time.perf_counter()

    def sampled(self, index: int, rollouts: Timed[tuple[Rollout, ...]]) -> None:
        self._rollouts[index] = rollouts
        self._sampled = time.perf_counter()

    def model_scored(self, index: int, parts: Timed[tuple[Parts, ...]]) -> None:
        """By a model reward worker; a reward worker scores the rest."""
        self._model_scores[index] = parts

    def scored(self, index: int, scores: Timed[tuple[Score, ...]]) -> None:
        self._scores[index] = scores
        self._scored = time.perf_counter()

    def groups(self) -> list[Group]:
        """In the order of the prompts."""
        return [
            Group(prompt, self._rollouts[index].value, self._scores[index].value)
            for index, prompt in enumerate(self.prompts)
        ]

    def timings(self) -> dict[str, float]:
        """exposed: seconds that only rewards were waited for; the rest of their time hid behind other work."""
        return {
            "timing_s/gen": self._sampled - self._began,
            "timing_s/reward": seconds_of(scores.value for scores in self._scores.values()),
            "perf/exposed_reward_s": max(0.0, self._scored - max(self._sampled, self._wanted)),
            "timing_s/workers_chain": self.chain_s(),
        }

    def chain_s(self) -> float:
        """The longest chain of work: no order of the same calls on the same workers could have been done before that.

        A worker does its groups one after the other; a group is scored when it is sampled and its reward worker is free.
        """
        clocks: dict[str, float] = {}
        done_at: dict[int, float] = {}
        for stage in (self._rollouts, self._model_scores, self._scores):
            for index, made in stage.items():  # in the order in which they came back
                began = max(clocks.get(made.worker, 0.0), done_at.get(index, 0.0))
                clocks[made.worker] = done_at[index] = began + made.seconds
        return max(clocks.values(), default=0.0)

"""Rollouts that run ahead of the learner by at most ``max_staleness`` weight versions.

Which version samples which batch is a function of the step alone, not of who was quick: so a run has the same bits
whatever the number of workers. No batch is begun beyond the next checkpoint of ``save_freq`` before that is written, so that a
run resumed from it, which has no batch in hand, does what the uninterrupted one did. A checkpoint between two of these, of
``save_minutes`` or a stop, drops the batches in hand: a run resumed from it begins them again, at newer weights.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from rl.config import Config
from rl.prepare import check_failures
from rl.protocols import Prompts, RunsAhead
from rl.rollouts import Sampled
from rl.seeds import derive_seed
from rl.types import WeightRef


class RolloutAhead:
    """Implements ``rl.rollouts.GroupSource``. At most ``max_staleness`` batches wait besides the one that is taken; a batch is
    handed out whole."""

    def __init__(self, workers: RunsAhead, stream: Prompts, config: Config) -> None:
        self._workers, self._stream, self._config = workers, stream, config
        self._begun: deque[tuple[int, dict[str, Any]]] = deque()  # a batch, and where the stream was before it

    def take(self, weights: WeightRef, step: int) -> Sampled:
        """The groups of the next step. step: how many are done; weights: of that moment. Raises RewardError."""
        while len(self._begun) <= self._config.max_staleness and step + len(self._begun) < self._boundary(step):
            seed = derive_seed(self._config.seed, "rollout", step + len(self._begun))
            before = self._stream.state()
            prompts = self._stream.next(self._config.rollout.batch_size)
            self._begun.append((self._workers.begin(prompts, weights, seed), before))
        groups = self._workers.finish(self._begun[0][0])
        self._begun.popleft()
        check_failures(groups, self._config.rewards.on_failure)
        return Sampled(groups, groups, self._workers.timings())

    def position(self) -> dict[str, Any]:
        return self._begun[0][1] if self._begun else self._stream.state()

    def drop(self) -> None:
        self._workers.cancel()
        self._begun.clear()

    def _boundary(self, step: int) -> int:
        """The first step count from which on nothing may be begun now."""
        freq = self._config.save_freq
        return min(self._config.steps, (step // freq + 1) * freq) if freq else self._config.steps

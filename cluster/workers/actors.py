"""The actors of a run's workers: what ``cluster.workers.rollout`` and ``cluster.workers.reward`` do, elsewhere.

Each worker is made at its actor's first call: what a constructor raises, Ray passes on only as text.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cluster.actors.heartbeat import HasHeartbeat
from cluster.actors.process import enter
from cluster.plan.layout import rewards_apart
from cluster.weights.base import Published, WeightWire, open_wire
from cluster.workers.batch_in_flight import Timed
from cluster.workers.reward import ModelRewardWorker, Parts, RewardWorker
from cluster.workers.rollout import RolloutWorker
from rl.config import Config
from rl.output.secrets import Secret
from rl.types import Prompt, Rollout, Score, WeightRef

Sampled = Timed[tuple[Rollout, ...]]  # one group, as its worker made it
ModelScored = Timed[tuple[Parts, ...]]  # its rewards that need a model reward worker
Scored = Timed[tuple[Score, ...]]  # all of its rewards, put together


class RolloutActor(HasHeartbeat):
    """A ``RolloutWorker``."""

    def __init__(self, config: Config, name: str, folder: str) -> None:
        self._config, self._name, self._folder = config, name, folder
        self._made: RolloutWorker | None = None
        self._wires: dict[str, WeightWire] = {}

    def ready(self) -> bool:
        return self._worker() is not None

    def receive_weights(self, wire: str, published: Published, body: Any) -> None:
        """Over the wire of this name. Raises what its ``receive`` raises."""
        if wire not in self._wires:
            self._wires[wire] = open_wire(wire)
        self._worker().receive_weights(self._wires[wire], published, body)

    def offload(self) -> int:
        """The bytes that its device got back."""
        return self._worker().offload()

    def rollout(self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, evaluate: bool) -> tuple[Sampled, ...]:
        """One group after the other."""
        worker = self._worker()
        return tuple(
            Timed.of(self._name, partial(worker.rollout, prompt, weights, seed, evaluate)) for prompt in prompts
        )

    def _worker(self) -> RolloutWorker:
        if self._made is None:
            enter(self._folder, self._config.run_dir, self._name)
            self._made = RolloutWorker(self._config, self._name)
        return self._made


class RewardActor(HasHeartbeat):
    """A ``RewardWorker``."""

    def __init__(self, config: Config, name: str, folder: str, secrets: Mapping[str, Secret]) -> None:
        self._config, self._name, self._folder = config, name, folder
        os.environ.update({name: secret.reveal() for name, secret in secrets.items()})
        self._made: RewardWorker | None = None

    def ready(self) -> bool:
        return self._worker() is not None

    def score(
        self,
        prompts: Sequence[Prompt],
        sampled: Sequence[Sampled],
        places: Sequence[int],
        evaluate: bool,
        model_scored: Sequence[ModelScored] = (),
    ) -> tuple[Scored, ...]:
        """One group after the other. sampled: what one call sampled; places: which of its groups to score; prompts: theirs.

        model_scored: what a model reward worker made of these groups, where one did.
        """
        worker = self._worker()
        known = [each.value for each in model_scored] or [()] * len(places)
        return tuple(
            Timed.of(self._name, partial(worker.score, prompt, sampled[place].value, evaluate, parts))
            for prompt, place, parts in zip(prompts, places, known, strict=True)
        )

    def _worker(self) -> RewardWorker:
        if self._made is None:
            enter(self._folder, self._config.run_dir, self._name)
            self._made = RewardWorker(self._config, rewards_apart(self._config))
        return self._made


class ModelRewardActor(HasHeartbeat):
    """A ``ModelRewardWorker``."""

    def __init__(self, config: Config, name: str, folder: str) -> None:
        self._config, self._name, self._folder = config, name, folder
        self._made: ModelRewardWorker | None = None

    def ready(self) -> bool:
        return self._worker() is not None

    def score(
        self, prompts: Sequence[Prompt], sampled: Sequence[Sampled], places: Sequence[int], evaluate: bool
    ) -> tuple[ModelScored, ...]:
        """As ``RewardActor.score``."""
        worker = self._worker()
        return tuple(
            Timed.of(self._name, partial(worker.parts, prompt, sampled[place].value, evaluate))
            for prompt, place in zip(prompts, places, strict=True)
        )

    def _worker(self) -> ModelRewardWorker:
        if self._made is None:
            enter(self._folder, self._config.run_dir, self._name)
            self._made = ModelRewardWorker(self._config)
        return self._made

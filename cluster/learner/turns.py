"""Whose turn it is on devices that learner ranks and rollout workers share. The others have offloaded their memory."""

from __future__ import annotations

from typing import Protocol


class Pool(Protocol):
    """Of rollout workers: ``cluster.actors.pool.ActorPool``."""

    def offload(self) -> None: ...


class Learner(Protocol):
    """``cluster.learner.rank_group.RankGroup``."""

    def offload(self) -> None: ...


class Turns:
    """The learner has the first turn. Rollout workers start offloaded, and are restored when they get weights.

    Each side takes its turn before it works, and waits until the other is offloaded: the device never holds both. An
    offloaded rollout worker keeps no weights, so it is given them again. A rank's memory waits on the host.
    """

    def __init__(self, rollouts: Pool, learner: Learner) -> None:
        self._rollouts, self._learner = rollouts, learner
        self._learning = True

    def sample(self) -> None:
        if self._learning:
            self._learner.offload()
            self._learning = False

    def learn(self) -> None:
        if not self._learning:
            self._rollouts.offload()
            self._learning = True

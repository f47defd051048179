"""Whose turn it is on devices that learner ranks and rollout workers share: those who wait have given their memory back."""

from __future__ import annotations

from typing import Protocol


class Pool(Protocol):
    """Of rollout workers: ``cluster.actors.pool.ActorPool``."""

    def offload(self) -> None: ...


class Learner(Protocol):
    """``cluster.learner.rank_group.RankGroup``."""

    def sleep(self) -> None: ...


class Turns:
    """The learner has the first turn: rollout workers are made asleep, and wake when they get weights.

    Each side takes its turn before it works, which waits until the other sleeps: never are both awake. A rollout worker
    that sleeps keeps no weights, so it is given them again; a rank's memory waits on the host.
    """

    def __init__(self, rollouts: Pool, learner: Learner) -> None:
        self._rollouts, self._learner = rollouts, learner
        self._learning = True

    def sample(self) -> None:
        if self._learning:
            self._learner.sleep()
            self._learning = False

    def learn(self) -> None:
        if not self._learning:
            self._rollouts.offload()
            self._learning = True

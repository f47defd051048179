"""Calls that score what was sampled: of model reward workers first, where a reward needs one, and then of reward workers.

The rollouts go from their worker to the next as an object ref. Another attempt takes them from the driver, since the ref's
object may be lost with its node. Groups that are lost together with a worker are each tried alone after that: one that hangs
or ends its process costs itself and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cluster.actors.call import ATTEMPTS, Call
from cluster.workers.actors import ModelScored, Sampled, Scored
from cluster.workers.batch_in_flight import BatchInFlight, Timed
from cluster.workers.reward import needs_model_worker
from rewards.base import failed
from rl.config import Config
from rl.errors import DeadlineError, WorkerError, one_line
from rl.types import Prompt, Score, ScoreStatus


@dataclass(frozen=True, slots=True, eq=False)
class ToScore:
    """Groups on their way through scoring, at ``indices`` of their batch.

    sampled, ref                  the call that sampled them: as the driver has it, and as an object ref; ``places``: which
                                  of its groups these are
    model_scored, model_scored_ref  what model reward workers made of them, once they have
    """

    batch: BatchInFlight
    indices: tuple[int, ...]
    places: tuple[int, ...]
    sampled: tuple[Sampled, ...]
    ref: Any = None
    model_scored: tuple[ModelScored, ...] = ()
    model_scored_ref: Any = None

    @property
    def prompts(self) -> list[Prompt]:
        return [self.batch.prompts[index] for index in self.indices]

    @property
    def evaluate(self) -> bool:
        return self.batch.evaluate

    def only(self, these: Sequence[int]) -> ToScore:
        """The groups at these positions, counted here. What model reward workers made of them comes from the driver."""
        part = replace(
            self,
            indices=tuple(self.indices[at] for at in these),
            places=tuple(self.places[at] for at in these),
        )
        if not self.model_scored:
            return part
        return part.with_model_scored(tuple(self.model_scored[at] for at in these))

    def with_model_scored(self, model_scored: tuple[ModelScored, ...], ref: Any = None) -> ToScore:
        return replace(self, model_scored=model_scored, model_scored_ref=ref)

    def one_by_one(self) -> list[ToScore]:
        """Each group alone, without refs: another attempt."""
        return [replace(self.only([at]), ref=None, model_scored_ref=None) for at in range(len(self.indices))]


class Handover:
    """What a call hands to its worker: the first attempt gets an object ref, if there is one, each later one the value."""

    def __init__(self, ref: Any, value: Any) -> None:
        self._ref, self._value = ref, value

    def next(self) -> Any:
        ref, self._ref = self._ref, None
        return self._value if ref is None else ref


def score_call(groups: ToScore, overdue_attempts: int) -> Call:
    """``RewardActor.score``."""
    sampled, model_scored = (
        Handover(groups.ref, groups.sampled),
        Handover(groups.model_scored_ref, groups.model_scored),
    )

    def send(actor: Any) -> Any:
        return actor.score.remote(groups.prompts, sampled.next(), groups.places, groups.evaluate, model_scored.next())

    return _call(groups, send, partial(_unscored, groups.sampled[groups.places[0]]), overdue_attempts)


def model_score_call(groups: ToScore, overdue_attempts: int, config: Config) -> Call:
    """``ModelRewardActor.score``."""
    sampled = Handover(groups.ref, groups.sampled)

    def send(actor: Any) -> Any:
        return actor.score.remote(groups.prompts, sampled.next(), groups.places, groups.evaluate)

    names = needs_model_worker(config, groups.prompts[0], groups.evaluate)
    instead = partial(_not_model_scored, groups.sampled[groups.places[0]], names)
    return _call(groups, send, instead, overdue_attempts)


def named(prompts: Sequence[Prompt]) -> str:
    return prompts[0].id if len(prompts) == 1 else f"{prompts[0].id} and {len(prompts) - 1} more"


def _call(
    groups: ToScore,
    send: Callable[[Any], Any],
    instead: Callable[[WorkerError | DeadlineError], Any],
    overdue_attempts: int,
) -> Call:
    """Its value is None where several groups could not be scored together."""
    alone = len(groups.indices) == 1
    return Call(
        groups,
        f"scoring {named(groups.prompts)}",
        send,
        instead=instead if alone else lambda error: None,
        otherwise="given up" if alone else "its groups are scored one by one",
        attempts=ATTEMPTS if alone else 1,
        overdue_attempts=overdue_attempts if alone else 1,
    )


def _unscored(group: Sampled, error: WorkerError | DeadlineError) -> tuple[Scored]:
    """A reward that hangs, or ends its process, cost its group alone: what then happens is the failure policy's to say."""
    return (Timed((_failure(error),) * len(group.value), "no reward worker", 0.0),)


def _not_model_scored(group: Sampled, names: Sequence[str], error: WorkerError | DeadlineError) -> tuple[ModelScored]:
    """The same for each of these rewards."""
    return (Timed((dict.fromkeys(names, _failure(error)),) * len(group.value), "no model reward worker", 0.0),)


def _failure(error: WorkerError | DeadlineError) -> Score:
    status = ScoreStatus.TIMEOUT if isinstance(error, DeadlineError) else ScoreStatus.CRASHED
    hint = "a function of your own can be isolated: custom_reward_function.isolate=true"
    return failed(status, f"{one_line(error)}; {hint}")

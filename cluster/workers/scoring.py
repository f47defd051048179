"""Calls that score what was sampled: to scorers first, where a reward is scored apart, and then to reward workers.

The rollouts go from their worker to the next as an object ref; only another attempt takes them from the driver, since they
may be lost with their node. Groups that are lost together with a worker are each tried alone after that: one that hangs or
ends its process costs itself and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cluster.actors.pool import ATTEMPTS, Call
from cluster.workers.actors import Rated, Sampled, Scored
from cluster.workers.batch_in_flight import Ticket, Timed
from cluster.workers.reward import scored_apart
from rewards.base import failed
from rl.config import Config
from rl.errors import DeadlineError, WorkerError, one_line
from rl.types import Prompt, Score, ScoreStatus


@dataclass(frozen=True, slots=True, eq=False)
class ToScore:
    """Groups on their way through scoring, at ``indices`` of their batch.

    sampled, ref  the call that sampled them: as the driver has it, and as an object ref; ``places``: which of its groups
                  these are
    rated, rated_ref  what scorers made of them, once they have
    """

    ticket: Ticket
    indices: tuple[int, ...]
    places: tuple[int, ...]
    sampled: tuple[Sampled, ...]
    ref: Any = None
    rated: tuple[Rated, ...] = ()
    rated_ref: Any = None

    @property
    def prompts(self) -> list[Prompt]:
        return [self.ticket.prompts[index] for index in self.indices]

    def only(self, these: Sequence[int]) -> ToScore:
        """The groups at these positions, counted here. What scorers made of them then comes from the driver."""
        indices, places = (tuple(row[at] for at in these) for row in (self.indices, self.places))
        if not self.rated:
            return replace(self, indices=indices, places=places)
        return replace(
            self, indices=indices, places=places, rated=tuple(self.rated[at] for at in these), rated_ref=None
        )

    def with_rated(self, rated: tuple[Rated, ...], ref: Any) -> ToScore:
        return replace(self, rated=rated, rated_ref=ref)

    def apart(self) -> list[ToScore]:
        """Each group alone, without refs: another attempt."""
        return [replace(self.only([at]), ref=None, rated_ref=None) for at in range(len(self.indices))]


def score_call(groups: ToScore, overdue_attempts: int) -> Call:
    """``RewardActor.score``."""
    sampled, rated = _first(groups.ref, groups.sampled), _first(groups.rated_ref, groups.rated)

    def send(actor: Any) -> Any:
        return actor.score.remote(groups.prompts, sampled(), groups.places, groups.ticket.evaluate, rated())

    return _call(groups, send, partial(_unscored, groups.sampled[groups.places[0]]), overdue_attempts)


def rate_call(groups: ToScore, config: Config, overdue_attempts: int) -> Call:
    """``ScorerActor.rate``."""
    sampled = _first(groups.ref, groups.sampled)

    def send(actor: Any) -> Any:
        return actor.rate.remote(groups.prompts, sampled(), groups.places, groups.ticket.evaluate)

    names = scored_apart(config, groups.prompts[0], groups.ticket.evaluate)
    return _call(groups, send, partial(_unrated, groups.sampled[groups.places[0]], names), overdue_attempts)


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


def _first(ref: Any, value: Any) -> Callable[[], Any]:
    """The ref, if there is one, the first time that it is asked; then the value."""
    refs = iter([] if ref is None else [ref])
    return lambda: next(refs, value)


def _unscored(group: Sampled, error: WorkerError | DeadlineError) -> tuple[Scored]:
    """A reward that hangs, or ends its process, cost its group alone: what then happens is the failure policy's to say."""
    return (Timed((_failure(error),) * len(group.value), "no reward worker", 0.0),)


def _unrated(group: Sampled, names: Sequence[str], error: WorkerError | DeadlineError) -> tuple[Rated]:
    return (Timed((dict.fromkeys(names, _failure(error)),) * len(group.value), "no scorer worker", 0.0),)


def _failure(error: WorkerError | DeadlineError) -> Score:
    status = ScoreStatus.TIMEOUT if isinstance(error, DeadlineError) else ScoreStatus.CRASHED
    hint = "a function of your own can be isolated: custom_reward_function.isolate=true"
    return failed(status, f"{one_line(error)}; {hint}")

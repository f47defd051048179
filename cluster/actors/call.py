"""What a pool of actors has to do, and who does it (``cluster.actors.pool``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cluster.actors.heartbeat import Beat
from rl.errors import DeadlineError, WorkerError

ATTEMPTS = 3  # of one call: what kills three workers will kill the fourth


@dataclass(frozen=True, slots=True)
class Call:
    """key: the owner's own. label: what it is, for messages. send: starts it on an actor and returns its object ref.

    needs: the preparation that its worker must have had (``cluster.actors.preparations``). attempts: how many workers it
    may be lost with, overdue_attempts: how many it may keep until its deadline. instead: makes the value of a call that no
    worker could finish, of the last error; without it that error is raised. otherwise: what becomes of it then, for
    messages.
    """

    key: Any
    label: str
    send: Callable[[Any], Any]
    needs: Any = None
    instead: Callable[[WorkerError | DeadlineError], Any] | None = None
    otherwise: str = "given up"
    attempts: int = ATTEMPTS
    overdue_attempts: int = ATTEMPTS


@dataclass(frozen=True, slots=True)
class Finished:
    """A call's value, and its object ref; ref is None where ``Call.instead`` made the value."""

    call: Call
    value: Any
    ref: Any = None


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker at this moment. doing: a call's label, or "idle"; seconds: for how long. attempt: of that call."""

    name: str
    doing: str
    seconds: float
    attempt: int
    has: Any
    beat: Beat | None
    beat_age_s: float | None


class Watched(Protocol):
    """What has actors to watch: ``cluster.workers.on_ray.RayWorkers`` and ``cluster.learner.rank_group.RankGroup``."""

    def states(self) -> list[WorkerState]: ...

    def queues(self) -> Mapping[str, int]:
        """What waits for an actor, and how many of it."""
        ...


@dataclass(slots=True)
class Worker:
    name: str
    index: int
    actor: Any
    starting: Any = None  # the ref of its ``ready``, until that is known to be done: it gets no call before
    has: Any = None  # the preparation that it had last
    announced: Any = None  # the ref of that, where nobody has looked at it yet
    since: float = 0.0  # of what it does now
    calls: deque[Running] = field(default_factory=deque)  # what it does, and perhaps what it will do right after that

    @property
    def first(self) -> Running | None:
        """The call that it does now."""
        return next(iter(self.calls), None)

    @property
    def doing(self) -> str:
        first = self.first
        if first is not None:
            return first.call.label
        return "idle" if self.starting is None else "starting"


@dataclass(slots=True)
class Running:
    call: Call
    worker: Worker
    attempt: int
    ref: Any
    ends: float  # infinity while another call of its worker is before it
    preparing: Any = None  # the ref of what came before it on the same worker
    recalled: bool = False  # its worker is left to finish it, and nobody wants the value

"""What becomes of a call whose worker was lost, or that is overdue: pure rules, without Ray."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from cluster.actors.call import Call
from rl.errors import DeadlineError, WorkerError

AGAIN = "its work is done again with the same seeds"
UNWANTED = "nobody wants what it did any more"


class Fate(Enum):
    AGAIN = auto()  # another worker tries
    INSTEAD = auto()  # ``Call.instead`` makes its value
    RAISED = auto()  # no attempt is left, and nothing stands in its place
    DROPPED = auto()  # its owner recalled it


@dataclass(frozen=True, slots=True)
class Verdict:
    """error: of the loss; with the attempts, where none is left. why: what becomes of the call, for the log."""

    fate: Fate
    error: WorkerError | DeadlineError
    why: str


def verdict(call: Call, attempt: int, error: WorkerError | DeadlineError, *, recalled: bool = False) -> Verdict:
    """attempt: the one that failed, from 1. error: DeadlineError of an overdue call, any other where its worker was lost."""
    if recalled:
        return Verdict(Fate.DROPPED, error, UNWANTED)
    attempts = call.overdue_attempts if isinstance(error, DeadlineError) else call.attempts
    if attempt < attempts:
        return Verdict(Fate.AGAIN, error, AGAIN)
    last = after(error, attempt, attempts)
    return Verdict(Fate.RAISED if call.instead is None else Fate.INSTEAD, last, call.otherwise)


def after(error: WorkerError | DeadlineError, attempt: int, attempts: int) -> WorkerError | DeadlineError:
    """The same error, which says that no attempt is left."""
    return type(error)(f"{error} (attempt {attempt} of {attempts})")

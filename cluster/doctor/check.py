"""One check, its result, and how a list of checks is made: each once, in order, and none after what it needs is red."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

from rl.errors import UniGRPOError, one_line

_log = logging.getLogger(__name__)
C = TypeVar("C")  # what checks are given


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    RED = "red"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found. Example: ``Result(State.RED, "no shard 2", "copy the folder again", name="weights")``.

    found    one line: what is there; for a skipped check, why
    remedy   one line: what to do; only of a red check
    data     the same in numbers, for ``--json``
    name, seconds  set by ``examine``
    """

    state: State
    found: str
    remedy: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    seconds: float = 0.0


def ok(found: str, **data: Any) -> Result:
    return Result(State.OK, found, data=data)


def red(found: str, remedy: str, **data: Any) -> Result:
    return Result(State.RED, found, remedy, data=data)


def skipped(why: str) -> Result:
    """Of a check that does not concern what is looked at."""
    return Result(State.SKIPPED, why)


@dataclass(frozen=True, slots=True)
class Check(Generic[C]):
    """look: its result from what it is given, the case. needs: names of checks that must be ok before. remedy: what to do
    where ``look`` raises something that names no way out of its own."""

    name: str
    look: Callable[[C], Result]
    needs: tuple[str, ...] = ()
    remedy: str = "open an issue with the output of unigrpo doctor --json"


def examine(checks: Sequence[Check[C]], case: C, begin: Callable[[str], None] = lambda name: None) -> Iterator[Result]:
    """The results, as they come. begin: called with a check's name before it works. Raises KeyboardInterrupt alone."""
    found: dict[str, Result] = {}
    causes: dict[str, str] = {}  # a check that is not ok -> the one that is to blame
    for check in checks:
        blocked = next((need for need in check.needs if found[need].state is not State.OK), None)
        if blocked is None:
            begin(check.name)
            result = _look(check, case)
            causes[check.name] = check.name
        else:
            cause = causes[blocked]
            result = Result(State.SKIPPED, f"needs {cause}, which is {found[cause].state}", name=check.name)
            causes[check.name] = cause
        found[check.name] = result
        yield result


def _look(check: Check[C], case: C) -> Result:
    began = time.perf_counter()
    try:
        result = check.look(case)
    except KeyboardInterrupt:
        raise
    except UniGRPOError as error:
        result = of_error(error, check.remedy)
    except MemoryError:
        result = red("ran out of memory", "take a machine with more memory, or end what else runs here")
    except BaseException as error:  # a library in Rust panics with what is no Exception; SystemExit ends nothing here
        _log.debug("%s", check.name, exc_info=True)
        result = red(one_line(error), check.remedy)
    return replace(result, name=check.name, seconds=time.perf_counter() - began)


def of_error(error: UniGRPOError, remedy: str) -> Result:
    """An error of ours ends with its way out, behind its last semicolon."""
    text = " ".join(str(error).split())
    found, _, way_out = text.rpartition("; ")
    return red(found, way_out) if found else red(text, remedy)

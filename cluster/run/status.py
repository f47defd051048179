"""Where a run is, and whom it waits for: a small file in its folder, written each second by a thread of the driver.

It is readable while the driver is stuck, and its age tells that the driver itself is stopped.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import psutil

from cluster.actors.process import recorded, register_stacks, stacks_file
from cluster.run.session import Session
from rl.checkpoints.files import read_inside, write_whole
from rl.config import Config
from rl.errors import ConfigError, first_line
from rl.types import Group

if TYPE_CHECKING:
    from cluster.actors.call import WorkerState

STATUS_FILE = "status.json"
DRIVER = "driver"
WRITE_EVERY_S = 1.0
DUMP_S = 3.0  # for a dump of stacks to arrive

_log = logging.getLogger(__name__)
_UNKNOWN = ("version", "pid", "beat_age_s")  # of an actor, at first
_TYPES: Mapping[str, type] = {
    **dict.fromkeys(("name", "doing", "host", "phase", "sentence"), str),
    **dict.fromkeys(("seconds", "beat_age_s", "time"), float),
    **dict.fromkeys(("attempt", "version", "pid", "step", "steps"), int),
}


@dataclass(frozen=True, slots=True)
class ActorStatus:
    """doing: a call, or idle. seconds: for how long. version: of its weights. beat_age_s: since its last heartbeat."""

    name: str
    doing: str
    seconds: float
    attempt: int = 0
    version: int | None = None
    pid: int | None = None
    host: str = ""
    beat_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """time: when it was written, seconds since 1970. step: the one being made. sentence: what matters of all this."""

    time: float
    pid: int
    host: str
    phase: str
    step: int
    steps: int
    sentence: str
    queues: Mapping[str, int]
    actors: Sequence[ActorStatus]

    @property
    def age_s(self) -> float:
        return time.time() - self.time


S = TypeVar("S", Status, ActorStatus)


class StatusBoard:
    """Implements ``rl.protocols.Tracker``: what the loop says is half of the status, what the actors do the other."""

    def __init__(self, config: Config) -> None:
        self._config, self._step, self._phase = config, 0, "starting"
        self._session: Session | None = None
        self._closing = threading.Event()
        self._warned = ""
        self._thread = threading.Thread(target=self._write_on, name="status", daemon=True)

    def watch(self, session: Session) -> None:
        """From now on; SIGUSR1 writes the driver's own stacks."""
        self._session = session
        register_stacks(self._config.run_dir, DRIVER)
        self._thread.start()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._step = step

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        """Not of interest here."""

    def rollouts(self, step: int, groups: Sequence[Group]) -> None: ...

    def phase(self, text: str) -> None:
        self._phase = text

    def tag(self, name: str, value: str) -> None:
        """Not of interest here."""

    def close(self, status: str) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(2 * WRITE_EVERY_S)
        self._session, self._phase = None, status.lower()
        write_status(self._config.run_dir, self.now())

    def now(self) -> Status:
        watched = () if self._session is None else self._session.watched
        actors = [_status(state) for part in watched for state in part.states()]
        queues = {name: count for part in watched for name, count in part.queues().items()}
        training = self._phase == "training"
        step = min(self._step + training, self._config.steps)
        return Status(
            time=time.time(),
            pid=os.getpid(),
            host=socket.gethostname(),
            phase=self._phase,
            step=step,
            steps=self._config.steps,
            sentence=sentence(f"step {step}" if training else self._phase, actors),
            queues=queues,
            actors=actors,
        )

    def _write_on(self) -> None:
        while not self._closing.wait(WRITE_EVERY_S):
            try:
                status = self.now()
                write_status(self._config.run_dir, status)
                self._warn_of_stall(status)
            except (OSError, RuntimeError) as error:  # a full disk; a pool that changed while it was looked at
                _log.debug("status not written: %r", error)

    def _warn_of_stall(self, status: Status) -> None:
        """Once for each wait: who is waited for, and where that one stands."""
        awaited = longest_wait(status.actors)
        if awaited is None or awaited.seconds < self._config.cluster.stall_s:
            return
        what = f"{awaited.name}: {awaited.doing}"
        if what != self._warned:
            self._warned = what
            found = dump_stacks(self._config.run_dir, awaited)
            _log.warning("%s; its stacks are in %s", status.sentence, stacks_file(self._config.run_dir, awaited.name))
            _log.info("%s", found)


def longest_wait(actors: Sequence[ActorStatus]) -> ActorStatus | None:
    """Whom the others wait for: who has no heartbeat, else who is at one thing longest."""
    busy = [actor for actor in actors if actor.doing != "idle"]
    return max(busy, key=lambda actor: (silent(actor), actor.seconds), default=None)


def silent(actor: ActorStatus) -> bool:
    return actor.beat_age_s is not None and actor.beat_age_s > 5.0


def sentence(where: str, actors: Sequence[ActorStatus]) -> str:
    """Example: ``step 41 waits 38 s for reward worker 3: scoring gsm8k/train/17``."""
    awaited = longest_wait(actors)
    if awaited is None:
        return f"{where}: nobody is waited for"
    text = f"{where} waits {awaited.seconds:.0f} s for {awaited.name}: {awaited.doing}"
    if awaited.attempt > 1:
        text += f" (attempt {awaited.attempt})"
    if silent(awaited):
        text += f"; no heartbeat for {awaited.beat_age_s:.0f} s"
    return text


def write_status(run_dir: Path, status: Status) -> None:
    """Whole or not at all: a reader never sees half of it."""
    write_whole(run_dir / STATUS_FILE, json.dumps(dataclasses.asdict(status), indent=1))


def read_status(run_dir: Path) -> Status:
    """Raises ConfigError where the folder has none."""
    file = run_dir / STATUS_FILE
    try:
        found = json.loads(read_inside(file, run_dir))
        actors = [_typed(ActorStatus(**actor)) for actor in found["actors"]]
        queues = {str(name): int(count) for name, count in found["queues"].items()}
        return _typed(Status(**{**found, "actors": actors, "queues": queues}))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{file}: no such file; give the folder of a training run, e.g. runs/tiny") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {first_line(error)}; give the folder of a training run") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ConfigError(f"{file}: not a status of this version: {error}") from error


def _typed(found: S) -> S:
    """The same with values of the right types. Raises ValueError, TypeError: the file is anybody's."""
    values = {each.name: getattr(found, each.name) for each in dataclasses.fields(found) if each.name in _TYPES}
    fitting = {name: _TYPES[name](value) for name, value in values.items() if value is not None or name not in _UNKNOWN}
    if not 0 <= (fitting.get("pid") or 0) < 1 << 31:
        raise ValueError("pid: not the number of a process")
    return dataclasses.replace(found, **fitting)


def driver_state(status: Status) -> str:
    """What is known of the driver: ``alive``, ``silent for 40 s``, or ``gone``."""
    here = status.host == socket.gethostname()
    if here and not psutil.pid_exists(status.pid):
        return "gone"
    return "alive" if status.age_s < 5 * WRITE_EVERY_S else f"silent for {status.age_s:.0f} s"


def dump_stacks(run_dir: Path, actor: ActorStatus) -> str:
    """The stacks of an actor's threads, or one line about how to get them. It is not disturbed in its work."""
    if actor.pid is None:
        return f"{actor.name}: its process is not known yet"
    if actor.host != socket.gethostname():
        return f"{actor.name}: process {actor.pid} on {actor.host}; there: py-spy dump --pid {actor.pid}"
    file = stacks_file(run_dir, actor.name)
    before = file.read_text("utf-8", "replace") if file.is_file() else ""
    if not _ask(actor.pid, before):
        return f"{actor.name}: process {actor.pid} is still starting, or gone; py-spy dump --pid {actor.pid}"
    ends = time.monotonic() + DUMP_S
    while time.monotonic() < ends:
        time.sleep(0.05)
        now = file.read_text("utf-8", "replace")
        if len(now) > len(before) and now.endswith("\n"):
            return now[len(before) :]
    return f"{actor.name}: process {actor.pid} does not answer signals: it is stopped, or waits for a device"


def _ask(pid: int, stacks: str) -> bool:
    """Send SIGUSR1 to the process that has written ``stacks``, and to no other: it would end one that is not ready for it.

    The process is held by its descriptor, so that it is the same from the first look to the signal.
    """
    try:
        process = os.pidfd_open(pid)
    except (OSError, OverflowError):
        return False
    try:
        if not stacks.startswith(recorded(pid)) or not _catches(pid, signal.SIGUSR1):
            return False
        signal.pidfd_send_signal(process, signal.SIGUSR1)
        return True
    except OSError:
        return False
    finally:
        os.close(process)


def _catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    masks = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(masks) and bool(int(masks[0], 16) >> (number - 1) & 1)


def _status(state: WorkerState) -> ActorStatus:
    return ActorStatus(
        state.name,
        state.doing,
        round(state.seconds, 1),
        state.attempt,
        None if state.has is None else state.has.version,
        None if state.beat is None else state.beat.pid,
        "" if state.beat is None else state.beat.host,
        None if state.beat_age_s is None else round(state.beat_age_s, 1),
    )

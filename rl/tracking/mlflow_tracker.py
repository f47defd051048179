"""MLflow, off the training thread: a dead or slow server costs the run nothing but its live view (law 10).

Every call puts an event in a queue; one daemon thread imports MLflow when the first event comes (that takes seconds),
and writes the events in order through ``MlflowClient`` with an explicit run id, since the fluent API is not
thread-safe. What a server did not take waits on disk (``rl.tracking.mlflow.spool``) and is tried again with growing
pauses; what is left when the process ends is written when the run is resumed, or by
``python -m rl.tracking.mlflow.replay RUN_FOLDER``.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.errors import first_line
from rl.output.printable import said
from rl.tracking.mlflow.events import Close, Event, Files, Machine, Metrics, Tags, Text, Trace, kind_of
from rl.tracking.mlflow.machine import Node
from rl.tracking.mlflow.page import About
from rl.tracking.mlflow.run import RUN_FILE, Place, Run, now_ms
from rl.tracking.mlflow.spool import InHand, Spool
from rl.tracking.mlflow.tables import drawing_sheet, sample_tables
from rl.tracking.mlflow.traces import choose, choose_of_each_task, trace
from rl.tracking.mlflow_names import clean_name
from rl.tracking.mlflow_store import DENIED, UNAUTHENTICATED
from rl.tracking.pages.album import Album
from rl.types import Group

__all__ = ["RUN_FILE", "MlflowTracker", "Sampled"]

HELD_OUT = "val"  # as the loop calls the samples of an evaluation
MAX_PENDING_SAMPLES = 64
MAX_STRIKES = 5
LONGEST_PAUSE_S = 30.0
MOST_AT_ONCE = 100  # steps whose numbers waited on disk
ATTACH_S = 30.0
GATHER_S = 10.0
_PERMANENT_CODES = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sampled:
    """Which rollouts are traced, and what they are worth.

    seed, count  so many groups of a step, chosen by the seed and the step
    worth        the advantages of a usable group's members, as the run computes them
    every        of so many steps, one is looked at
    """

    seed: int = 0
    count: int = 0
    worth: Callable[[Group], Sequence[float]] | None = None
    every: int = 1


@dataclass(frozen=True, slots=True)
class _Groups:
    """What is turned into tables, pictures and traces by the thread that writes them. traces: nothing but those."""

    step: int
    name: str
    groups: Sequence[Group]
    time_ms: int
    sampled_s: float
    traces: bool


class _OffError(Exception):
    """MLflow will never take this run."""


class MlflowTracker:
    """One MLflow run for one training run, over as many processes as it takes.

    run_dir           holds the run's id (``mlflow_run.json``); the default store is beside it, for all runs of the folder
    params            nested settings, logged once; on resume, one that changed becomes a tag ``resumed/{key}``
    uri               a tracking server; None for the SQLite store that the runs of a folder share
    password_env      the environment variable with the password of ``uri``, where that is a database
    resume            go on with the run whose id the folder holds; steps that it has are not logged twice. Steps that
                      only ``metrics.jsonl`` has are added, to a new run as well
    retry_s           first pause after a failed write; it doubles up to 30 s
    close_deadline_s  longest wait of ``close`` for what is still queued
    about             what the run's page says; None leaves it bare
    sampled           which rollouts become traces
    machine_s         seconds between two readings of what this node does; 0 is off
    files             of the run folder, that become artifacts when the run ends
    album             makes the pages that play rollouts, and the galleries; None makes none
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        name: str,
        params: Mapping[str, Any] | None = None,
        experiment: str = "unigrpo",
        uri: str | None = None,
        password_env: str | None = None,
        resume: bool = False,
        retry_s: float = 1.0,
        close_deadline_s: float = 120.0,
        about: About | None = None,
        sampled: Sampled | None = None,
        machine_s: float = 0.0,
        files: Sequence[str] = (),
        album: Album | None = None,
    ) -> None:
        self._run = Run(run_dir, name, params or {}, Place(uri, password_env, experiment), about, resume)
        self._spool = Spool(run_dir.absolute(), keep=resume)
        self._spool.forget_ends()
        self._in_hand = InHand(run_dir.absolute(), keep=resume)
        self._queue: queue.SimpleQueue[_Groups | Event] = queue.SimpleQueue()
        self._sampled, self._album = sampled or Sampled(), album
        self._files = [str(run_dir.absolute() / file) for file in files]
        self._retry_s, self._close_deadline_s = retry_s, close_deadline_s
        self._pause, self._strikes, self._again_at = retry_s, 0, 0.0
        self._numbers: list[Event] = []
        self._write_at = 0.0
        self._sampled_s: dict[int, float] = {}
        self._node: Node | None = None
        self._machine_s, self._read_at = machine_s, 0.0
        self._closing = threading.Event()
        self._off = False
        self._thread = self._started()

    @property
    def run_id(self) -> str | None:
        """None until the thread reached the store."""
        return self._run.run_id

    @property
    def cut_off(self) -> frozenset[int]:
        """Steps of evaluations of which an earlier process was killed before it had written tables, pages and traces."""
        return self._in_hand.cut_off

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        values = {clean_name(name): float(value) for name, value in metrics.items()}
        if "timing_s/gen" in values:
            self._sampled_s = {step: values["timing_s/gen"]}
        self._queue.put(Metrics(step, now_ms(), values))

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        self._put_groups(step, groups, name, traces=False)

    def rollouts(self, step: int, groups: Sequence[Group]) -> None:
        """A step's groups of training, of which the chosen ones become traces."""
        if self._sampled.count and step % self._sampled.every == 0:
            chosen = choose(groups, self._sampled.count, self._sampled.seed, step)
            self._put_groups(step, [groups[index] for index in chosen], "train", traces=True)

    def machine(self, values: Mapping[str, float]) -> None:
        """What some node does: ``system/{node}/...``."""
        self._queue.put(Machine(now_ms(), dict(values)))

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags of the run."""
        self._queue.put(Tags(dict(values)))

    def phase(self, text: str) -> None:
        """Phases are for the person in front of the run."""

    def tag(self, name: str, value: str) -> None:
        self._queue.put(Tags({clean_name(name): value}))

    def close(self, status: str) -> None:
        """Write what is queued and end the run as FINISHED, FAILED or KILLED. Only the first call counts."""
        if self._closing.is_set():
            return
        if status == "FAILED" and sys.exc_info()[0] is not None:
            self._queue.put(Text("traceback.txt", said(traceback.format_exc(), lines=True, limit=None)))
        if self._files:
            self._queue.put(Files(self._files))
        self._queue.put(Close(status))
        self._closing.set()
        self._wait(self._close_deadline_s)

    def attach(self, files: Sequence[Path], tags: Mapping[str, str] | None = None) -> None:
        """Artifacts of a run that has ended, such as its summary, and tags that say of them."""
        if self._off or self._thread.is_alive():
            return  # MLflow takes nothing, or is still busy with the end
        self._queue.put(Files([str(file.absolute()) for file in files]))
        if tags:
            self._queue.put(Tags(dict(tags)))
        self._thread = self._started()
        self._wait(min(ATTACH_S, self._close_deadline_s))

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._serve, name="mlflow", daemon=True)
        thread.start()
        return thread

    def _put_groups(self, step: int, groups: Sequence[Group], name: str, *, traces: bool) -> None:
        if self._queue.qsize() > MAX_PENDING_SAMPLES:
            return  # the thread is behind; numbers are worth the memory, pictures are in the run folder
        if name == HELD_OUT:
            self._in_hand.begin(step)
        self._queue.put(_Groups(step, name, groups, now_ms(), self._sampled_s.get(step, 0.0), traces))

    def _wait(self, seconds: float) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive():
            _log.warning(
                "MLflow did not take everything in %.0f s; resume logs the rest (it waits in %s)",
                seconds, self._spool.folder,
            )  # fmt: skip

    def _serve(self) -> None:
        """The thread, until the run ends. MLflow is imported with the first event: the start of the run is not kept waiting."""
        try:
            event = self._queue.get()
            while True:
                for one in () if event is None else self._prepared(event):
                    self._take(one)
                if isinstance(event, _Groups) and event.name == HELD_OUT:
                    self._in_hand.done(event.step)
                ends = self._closing.is_set() and self._queue.empty()
                if self._numbers and (ends or time.monotonic() >= self._write_at):
                    self._deliver_numbers()
                if len(self._spool) and (ends or time.monotonic() >= self._again_at):
                    self._flush()
                if ends:
                    self._in_hand.end()
                    return self._say_what_is_left()
                self._read_machine()
                event = self._next()
        except _OffError as error:
            self._turn_off()
            _log.warning("MLflow is off for this run: %s", error)
        except Exception as error:  # a mistake of ours costs the run nothing but its live view
            self._turn_off()
            _log.warning("MLflow is off for this run: %s: %s", type(error).__name__, first_line(error))

    def _turn_off(self) -> None:
        self._off = True
        self._in_hand.end(forget=True)

    def _next(self) -> _Groups | Event | None:
        """The next event; None where it is time to do something else."""
        times = [self._again_at] if len(self._spool) else []
        times += [self._read_at] if self._machine_s else []
        times += [self._write_at] if self._numbers else []
        try:
            return self._queue.get(timeout=max(0.0, min(times) - time.monotonic()) if times else None)
        except queue.Empty:
            return None

    def _read_machine(self) -> None:
        if not self._machine_s or time.monotonic() < self._read_at:
            return
        self._node = self._node or Node()
        self._read_at = time.monotonic() + self._machine_s
        self._take(Machine(now_ms(), self._node.sample()))

    def _say_what_is_left(self) -> None:
        if len(self._spool):
            _log.warning(
                "MLflow did not take all; resume logs what is missing, or python -m rl.tracking.mlflow.replay %s: it waits in %s",
                self._spool.folder.parent, self._spool.folder,
            )  # fmt: skip

    def _prepared(self, event: _Groups | Event) -> Iterator[Event]:
        if not isinstance(event, _Groups):
            yield event
            return
        worth = {
            index: self._sampled.worth(group)
            for index, group in enumerate(event.groups)
            if self._sampled.worth is not None and event.name == "train" and group.usable
        }
        name = clean_name(event.name)
        if event.traces:
            for index, group in enumerate(event.groups):
                yield from self._traced(
                    trace(group, event.step, name, worth.get(index), event.sampled_s, event.time_ms), group
                )
            return
        yield from sample_tables(event.step, name, event.groups, worth)
        if (drawn := drawing_sheet(event.step, name, event.groups)) is not None:
            yield drawn
        if event.name == HELD_OUT:  # the same prompts at every evaluation: their answers over time
            chosen = choose_of_each_task(event.groups, self._sampled.count, self._sampled.seed)
            if self._album is not None:
                yield from self._album.evaluated(event.step, event.groups, chosen)
            for group in (event.groups[index] for index in chosen):
                yield from self._traced(trace(group, event.step, name, None, 0.0, event.time_ms), group)

    def _traced(self, made: Trace, group: Group) -> Iterator[Event]:
        return iter([made]) if self._album is None else self._album.linked(made, group)

    def _take(self, event: Event) -> None:
        """Numbers gather for ``GATHER_S``, if the last were written just before: one call for all costs hardly more than one
        for each. What has ended is written last."""
        if isinstance(event, Metrics | Machine):
            self._numbers.append(event)
            return
        if isinstance(event, Close):
            self._deliver_numbers()
        self._deliver([event])

    def _deliver_numbers(self) -> None:
        gathered, self._numbers = self._numbers, []
        self._write_at = time.monotonic() + GATHER_S
        if gathered:
            self._deliver(gathered)

    def _deliver(self, events: Sequence[Event]) -> None:
        if len(self._spool) or not self._write(events):
            for event in events:
                self._spool.add(event)

    def _flush(self) -> None:
        """Write what waits on disk, in order, as far as the store takes it."""
        while events := self._spool.first(MOST_AT_ONCE):
            if not self._write(events):
                return
            self._spool.done(len(events))

    def _write(self, events: Sequence[Event]) -> bool:
        """Whether the events are dealt with: written, or refused for good. False where the store is away. Several are numbers.

        A store that answers reads and still does not take an event, time after time, will never take it.
        Raises _OffError where it takes nothing of this run.
        """
        try:
            self._run.write(*events)
        except Exception as error:
            if not self._run.connected and _is_permanent(error):
                raise _OffError(f"{type(error).__name__}: {first_line(error)}") from error
            if _is_permanent(error) and self._run.start_over():
                return self._write(events)
            self._strikes += self._run.answers()
            if not (_is_permanent(error) or self._strikes >= MAX_STRIKES or (self._strikes and self._closing.is_set())):
                self._back_off(error)
                return False
            if len(events) > 1:  # the others are not lost with the one that is refused
                return all([self._write([event]) for event in events])
            _log.warning("MLflow refused %s: %s", _label(events[0]), first_line(error))
        self._pause, self._strikes, self._again_at = self._retry_s, 0, 0.0
        return True

    def _back_off(self, error: Exception) -> None:
        if not self._closing.is_set():
            level = logging.WARNING if self._pause == self._retry_s else logging.INFO  # one warning is enough
            refused = getattr(error, "error_code", "") in (UNAUTHENTICATED, DENIED)
            what = "refuses the login, or lacks its permission" if refused else "cannot be reached"
            _log.log(level, "MLflow %s, trying again in %.1f s: %s", what, self._pause, first_line(error))
        self._again_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)


def _is_permanent(error: Exception) -> bool:
    """Trying again cannot help: the store answered, and its answer is no; or the mistake is ours."""
    if code := getattr(error, "error_code", None):
        return code in _PERMANENT_CODES
    return isinstance(error, TypeError | ValueError | LookupError | AttributeError | ImportError)


def _label(event: Event) -> str:
    step = getattr(event, "step", None)
    return kind_of(event) if step is None else f"{kind_of(event)} of step {step}"

"""Where a run's numbers, tables and pictures go. Monitoring may die; training does not notice (law 10).

``JsonlTracker`` writes the run folder and is always on; ``MlflowTracker`` (``rl.tracking.mlflow_tracker``) talks to MLflow from a
thread of its own; ``Trackers`` hands everything to all of them and swallows what they raise.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rl.protocols import Tracker
from rl.tracking.metrics_file import METRICS_FILE, SAMPLES_FOLDER, set_aside
from rl.tracking.mlflow_tracker import MlflowTracker
from rl.tracking.samples import save_samples
from rl.types import Group

__all__ = ["FAILED", "FINISHED", "KILLED", "JsonlTracker", "MlflowTracker", "Trackers", "tracked"]

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"

T = TypeVar("T", bound=Tracker)

_log = logging.getLogger(__name__)


@contextmanager
def tracked(tracker: T) -> Iterator[T]:
    """Closes the tracker with the status that the block ends in: FINISHED, FAILED, or KILLED on Ctrl-C and SIGTERM."""
    status = FAILED
    try:
        yield tracker
        status = FINISHED
    except (KeyboardInterrupt, SystemExit):
        status = KILLED
        raise
    finally:
        tracker.close(status)


class Trackers:
    """Several trackers as one. What one of them raises is logged once, and the others still get the call.

    The first ``close`` counts; later ones do nothing.
    """

    def __init__(self, *trackers: Tracker) -> None:
        self._trackers = trackers
        self._closed = False
        self._complained: set[int] = set()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._each("log", step, metrics)

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        self._each("samples", step, groups, name)

    def rollouts(self, step: int, groups: Sequence[Group]) -> None:
        self._each("rollouts", step, groups)

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags of the run, for trackers that have such."""
        self._each("tags", values)

    def machine(self, values: Mapping[str, float]) -> None:
        """What a node does, for trackers that show such."""
        self._each("machine", values)

    def attach(self, files: Sequence[Path], tags: Mapping[str, str] | None = None) -> None:
        """Files of a run that has ended, and tags that say of them, for trackers that keep such."""
        self._each("attach", files, tags or {})

    def phase(self, text: str) -> None:
        self._each("phase", text)

    def tag(self, name: str, value: str) -> None:
        self._each("tag", name, value)

    def close(self, status: str) -> None:
        if not self._closed:
            self._closed = True
            self._each("close", status)

    def _each(self, method: str, *args: object) -> None:
        for index, tracker in enumerate(self._trackers):
            try:
                if (call := getattr(tracker, method, None)) is not None:  # a tracker need not have all of them
                    call(*args)
            except Exception as error:
                if index not in self._complained:
                    self._complained.add(index)
                    _log.warning("%s.%s failed, training goes on: %r", type(tracker).__name__, method, error)


class JsonlTracker:
    """``metrics.jsonl`` (one line a ``log`` call, flushed) and ``samples/{name}-{step}/`` in the run folder.

    keep_until: what an earlier process left here goes on up to this step; later steps, of a future that this run does
    not continue, are set aside under a numbered name. -1 sets everything aside, infinity nothing: a step that is logged
    again then overrules its earlier line (see ``rl.tracking.metrics_file.read_metrics``).

    Lines that could not be written, on a full disk say, are kept and written with the next ones.
    """

    def __init__(self, run_dir: Path, *, keep_until: float = -1) -> None:
        self._path = run_dir / METRICS_FILE
        self._samples = run_dir / SAMPLES_FOLDER
        self._unwritten: list[str] = []
        run_dir.mkdir(parents=True, exist_ok=True)
        set_aside(run_dir, keep_until)
        self._close_torn_line()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        numbers = {name: float(value) for name, value in metrics.items()}
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}  # JSON has no NaN
        self._unwritten.append(json.dumps({"step": step, "time": time.time(), **finite}) + "\n")
        self._flush()

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        save_samples(self._samples / f"{name}-{step:06d}", groups)

    def rollouts(self, step: int, groups: Sequence[Group]) -> None:
        """Every rollout would be gigabytes."""

    def phase(self, text: str) -> None:
        """Phases are for the person in front of the run; the file has no use for them."""

    def tag(self, name: str, value: str) -> None:
        """What tags say can be made from the metrics."""

    def close(self, status: str) -> None:
        self._flush()

    def _flush(self) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(self._unwritten))
        self._unwritten.clear()

    def _close_torn_line(self) -> None:
        """A process killed in the middle of a write leaves half a line; the next one must not be glued to it."""
        if self._path.is_file() and (content := self._path.read_bytes()) and not content.endswith(b"\n"):
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n")

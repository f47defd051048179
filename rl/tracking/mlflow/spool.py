"""What MLflow did not take yet, on disk: bounded, in order, and read again by the next process."""

from __future__ import annotations

import logging
from pathlib import Path

from rl.checkpoints.files import write_whole
from rl.tracking.mlflow.events import Close, Event, from_text, kind_of, to_text

FOLDER = "mlflow_spool"
IN_HAND = "mlflow_in_hand"
MOST_BYTES = 256 * 1024 * 1024
GOES_FIRST = ("sheet", "trace", "table", "machine")  # the others are small, and stay
NUMBERS = ("metrics", "machine")

_log = logging.getLogger(__name__)


class Spool:
    """A queue of events in ``run_dir/mlflow_spool``, one file an event: ``00000012.trace.json``.

    keep: what an earlier process left is still to be written; else it belongs to a run that was started over, and goes.
    most_bytes: above it the oldest pictures go first, then traces and tables; numbers never do.
    """

    def __init__(self, run_dir: Path, *, keep: bool, most_bytes: int = MOST_BYTES) -> None:
        self.folder = run_dir / FOLDER
        self._most_bytes = most_bytes
        self._bytes = 0
        self._dropped = 0
        self._files: list[Path] = []
        self._failed = False
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            if keep:
                self._files.append(path)
                self._bytes += path.stat().st_size
            else:
                path.unlink()
        self._next = int(self._files[-1].name.split(".")[0]) + 1 if self._files else 0

    def __len__(self) -> int:
        return len(self._files)

    def add(self, event: Event) -> None:
        """The event as the last. Where the disk takes nothing it is lost, which is said once."""
        path = self.folder / f"{self._next:08d}.{kind_of(event)}.json"
        try:
            self.folder.mkdir(exist_ok=True)
            write_whole(path, to_text(event))
        except OSError as error:
            if not self._failed:
                self._failed = True
                _log.warning("MLflow is away, and %s takes nothing: %s", self.folder, error)
            return
        self._next += 1
        self._files.append(path)
        self._bytes += path.stat().st_size
        self._bound()

    def first(self, most: int = 1) -> list[Event]:
        """The oldest event. Numbers that follow numbers come with it, ``most`` in all. One that cannot be read is left out."""
        found: list[Event] = []
        while len(found) < min(most, len(self._files)):
            path = self._files[len(found)]
            if found and _kind(path) not in NUMBERS:
                break
            try:
                found.append(from_text(path.read_text("utf-8")))
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.warning("MLflow: %s cannot be read, and is left out: %s", path, error)
                self._remove(path)
                continue
            if _kind(path) not in NUMBERS:
                break
        return found

    def done(self, count: int = 1) -> None:
        """The oldest events are written."""
        for path in self._files[:count]:
            self._remove(path)
        if not self._files:
            try:
                self.folder.rmdir()
            except OSError:
                return  # somebody put a file there

    def end(self) -> str | None:
        """The status that an earlier process ended the run with, where that waits as well."""
        for path in reversed(self._files):
            if _kind(path) == "close":
                try:
                    event = from_text(path.read_text("utf-8"))
                except (OSError, ValueError, KeyError, TypeError):
                    return None
                return event.status if isinstance(event, Close) else None
        return None

    def forget_ends(self) -> None:
        """An earlier process's end is not this one's."""
        for path in [path for path in self._files if _kind(path) in ("close", "files")]:
            self._remove(path)

    def _bound(self) -> None:
        if self._bytes <= self._most_bytes:
            return
        for kind in GOES_FIRST:
            for path in [path for path in self._files if _kind(path) == kind]:
                if self._bytes <= self._most_bytes:
                    return
                self._remove(path)
                self._dropped += 1
                if self._dropped == 1:
                    _log.warning(
                        "MLflow: %s is at its limit of %d MiB; the oldest pictures and traces go, numbers stay",
                        self.folder, self._most_bytes >> 20,
                    )  # fmt: skip

    def _remove(self, path: Path) -> None:
        self._files.remove(path)
        try:
            self._bytes -= path.stat().st_size
            path.unlink()
        except OSError:
            return


def _kind(path: Path) -> str:
    return path.name.split(".")[1]


class InHand:
    """Evaluations whose tables, pages and traces the writing thread has in memory: an empty file each, ``000040``. They go
    when all of it is written, or in the spool. So those that a new process finds were cut off.

    keep: as of ``Spool``
    """

    def __init__(self, run_dir: Path, *, keep: bool) -> None:
        self._folder = run_dir / IN_HAND
        found = [path for path in self._folder.glob("*") if path.name.isdecimal()] if self._folder.is_dir() else []
        self.cut_off = frozenset(int(path.name) for path in found) if keep else frozenset()
        for path in () if keep else found:
            path.unlink(missing_ok=True)

    def begin(self, step: int) -> None:
        try:
            self._folder.mkdir(exist_ok=True)
            self._file(step).touch()
        except OSError:
            return  # then an evaluation that is cut off lacks its pages

    def done(self, step: int) -> None:
        try:
            self._file(step).unlink(missing_ok=True)
        except OSError:
            return  # then it is made once more

    def end(self, *, forget: bool = False) -> None:
        """Nothing more begins. forget: nothing that is in hand is waited for, either."""
        for path in list(self._folder.glob("*")) if forget else ():
            if path.name.isdecimal():
                self.done(int(path.name))
        try:
            self._folder.rmdir()
        except OSError:
            return  # it was never made, or something is in it

    def _file(self, step: int) -> Path:
        return self._folder / f"{step:06d}"

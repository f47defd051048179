"""An actor that has accidents. It has a file of its own, so that starting one loads nothing heavy."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from cluster.actors.heartbeat import HasHeartbeat
from rl.errors import DataError


class Squarer(HasHeartbeat):
    """Squares numbers, once it has its unit. What it is to do at an accident happens once, over all actors."""

    def __init__(self, index: int, accidents: str) -> None:
        self.index, self.accidents, self.unit = index, Path(accidents), 0

    def ready(self) -> int:
        """Where the folder holds files ``start-1``, ``start-2``..., that many starts are lost, one each."""
        if not self.accidents.is_dir():
            bad_row()
        for fate in sorted(self.accidents.glob("start-*")):
            fate.unlink()
            die()
        return self.index

    def set_unit(self, unit: int) -> None:
        self.unit = unit

    def square(self, number: int, accident: str = "", every_time: bool = False) -> int:
        if accident and (every_time or self._first(number)):
            {"die": die, "hang": hang, "stop": stop, "data": bad_row, "bug": bug}[accident]()
        return self.unit * number * number

    def _first(self, number: int) -> bool:
        try:
            (self.accidents / str(number)).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def hang() -> None:
    threading.Event().wait()


def bad_row() -> None:
    raise DataError("row 3: no reference")


def bug() -> None:
    raise ZeroDivisionError("of a worker\nand more lines")

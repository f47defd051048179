"""Tells what a user's function raises from what ends the run.

A function may raise anything: ``func_timeout.FunctionTimedOut``, SystemExit and KeyboardInterrupt are no Exceptions, and
would end a run. Ctrl-C and SIGTERM are raised by a signal's handler, in whatever runs at that moment.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While foreign code runs: ``passing`` is what a signal's handler raised meanwhile, or None.

    with Interrupts() as interrupts:
        try: ...
        except BaseException as error:
            interrupts.reraise()

    Leaving it raises what the foreign code swallowed. Outside of the main thread no handler runs.
    """

    def __init__(self) -> None:
        self.passing: BaseException | None = None
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._before[number] = handler
                    signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._handle:
                with contextlib.suppress(ValueError):  # on the way down
                    signal.signal(number, handler)
        if error is None:
            self.reraise()

    def reraise(self) -> None:
        if self.passing is not None:
            raise self.passing

    def _handle(self, number: int, frame: FrameType | None) -> None:
        try:
            self._before[number](number, frame)
        except BaseException as error:
            self.passing = error
            raise

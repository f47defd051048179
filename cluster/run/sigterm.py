"""SIGTERM and Ctrl-C: the run saves, and leaves. A scheduler sends SIGTERM before it takes the machine, with a grace."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rl.stop import Stop

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stopping(grace_s: float) -> Iterator[Stop]:
    """A ``Stop`` that SIGTERM and Ctrl-C request. A second one ends the run at once; so does the end of SIGTERM's grace.

    To be entered once Ray runs, whose start puts a handler of its own in place, which aborts.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # whoever runs us in a thread handles signals
        return
    timer = threading.Timer(grace_s, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        if number == signal.SIGTERM:
            _log.warning("SIGTERM: the step is abandoned or finished, and saved, within %g s", grace_s)
            timer.start()
        else:
            _log.warning("Ctrl-C: the step is abandoned or finished, and saved; Ctrl-C again ends the run at once")
        stop.request()

    with handlers_kept():
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # what a shell starts in its background ignores Ctrl-C
                signal.signal(number, on_signal)
        try:
            yield stop
        finally:
            timer.cancel()


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Puts the handlers of both signals back at the end: Ray's start changes them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not Python's, and not ours to put back
                signal.signal(number, handler)

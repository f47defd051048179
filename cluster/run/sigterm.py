"""SIGTERM, as a scheduler sends it before it takes the machine: the run saves and leaves within its grace."""

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


@contextmanager
def stopping(grace_s: float) -> Iterator[Stop]:
    """A ``Stop`` that SIGTERM requests. A second SIGTERM, or the end of the grace, ends the run as Ctrl-C does.

    To be entered once Ray runs, whose start puts a handler of its own in place, which aborts.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # whoever runs us in a thread handles signals
        return
    timer = threading.Timer(grace_s, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        _log.warning("SIGTERM: the step is abandoned or finished, and saved, within %g s", grace_s)
        timer.start()
        stop.request()

    before = signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield stop
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before)

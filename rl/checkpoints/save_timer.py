"""When a checkpoint is due by the clock, beside those that are due by the count of steps."""

from __future__ import annotations

import time
from collections.abc import Callable


class SaveTimer:
    """``due`` once so many minutes have passed since the start or the last save.

    minutes  0: never
    clock    seconds that never go back; tests hand in their own
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = 60 * minutes, clock
        self._since = clock()

    def due(self) -> bool:
        return self._seconds > 0 and self._clock() - self._since >= self._seconds

    def restart(self) -> None:
        """After a save, also one that failed: a full disk is not tried at every step."""
        self._since = self._clock()

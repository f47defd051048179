"""A request to stop, which the loop meets between steps, or in the middle of one that can be thrown away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class StopRequested(BaseException):
    """Ends a wait inside ``Stop.may_abandon``; no ``except Exception`` on the way keeps it."""


class Stop:
    """``request`` may be called from a signal handler: it ends work that may be abandoned at once, and nothing else."""

    def __init__(self) -> None:
        self.requested = False
        self._abandoning = False

    def request(self) -> None:
        first, self.requested = not self.requested, True
        if first and self._abandoning:
            raise StopRequested

    @contextmanager
    def may_abandon(self) -> Iterator[None]:
        """What runs in here changes nothing that is saved: it may end anywhere. Raises StopRequested."""
        self._abandoning = True
        try:
            if self.requested:
                raise StopRequested
            yield
        finally:
            self._abandoning = False

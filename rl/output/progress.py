"""How far a long piece of work has come: a count on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from rl.output.printable import said

QUIET_S, REDRAWN_S, LINE_S = 2.0, 0.5, 10.0


class Progress:
    """``reading rows.jsonl: 120,000 rows``: in a terminal one line that is redrawn, elsewhere a line every ten seconds.

    What takes less than two seconds says nothing. Use it in a ``with`` block, and call it with how many are done.

    total   how many there are in all, where that is known
    stream, clock   tests hand in their own
    """

    def __init__(
        self,
        what: str,
        unit: str = "rows",
        total: int | None = None,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._unit, self._total, self._clock = said(what), unit, total, clock
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._next = clock() + QUIET_S
        self._width = 0

    def __call__(self, done: int) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + (REDRAWN_S if self._terminal else LINE_S)
        count = f"{done:,}" if self._total is None else f"{done:,} of {self._total:,}"
        line = f"{self._what}: {count} {self._unit}"
        self._write(f"\r{line.ljust(self._width)}" if self._terminal else f"{line}\n")
        self._width = len(line)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal and self._width:
            self._write(f"\r{' ' * self._width}\r")

    def _write(self, text: str) -> None:
        print(text, end="", file=self._stream, flush=True)

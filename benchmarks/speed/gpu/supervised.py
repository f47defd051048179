"""Rows in a process of their own, and another one for the rest where that crashes, hangs or spoils its device."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

POLL_S = 0.2
START_S = 90.0  # for imports and a device's context, until the first row begins
OVERTIME_S = 25.0  # of the row that is measured when the time is up
CHILD = "benchmarks.speed.gpu.measure"
Result = dict[str, Any]


class Timed(Protocol):
    @property
    def most_s(self) -> float: ...


def measure(
    rows: Mapping[str, Timed],
    names: Sequence[str],
    module: str,
    folder: Path,
    seconds: float,
    dry: bool,
    keep: Callable[[str, Result], None],
    child_module: str = CHILD,
) -> None:
    """``keep`` is called with each row's result as it comes. Results of rows that are lost are made here."""
    ends, left, starts = time.monotonic() + seconds, list(names), 0
    while left:
        starts += 1
        lines = folder / f"rows-{starts}.jsonl"
        command = [
            sys.executable,
            "-m",
            child_module,
            "--rows",
            module,
            "--lines",
            str(lines),
            *(["--dry"] if dry else []),
        ]
        command += ["--seconds", f"{max(0.0, ends - time.monotonic()):.1f}", "--names", *left]
        child = _start(command, lines, folder / f"rows-{starts}.log")
        try:
            lost = _follow(child, lines, rows, left, ends, keep)
        finally:
            _end(child)
        if lost is not None:
            name, result = lost
            left.remove(name)
            keep(name, result)


def _start(command: Sequence[str], lines: Path, log: Path) -> subprocess.Popen[bytes]:
    lines.unlink(missing_ok=True)  # of an earlier stretch
    lines.touch()
    with log.open("wb") as said:
        return subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)


def _follow(
    child: subprocess.Popen[bytes],
    lines: Path,
    rows: Mapping[str, Timed],
    left: list[str],
    ends: float,
    keep: Callable[[str, Result], None],
) -> tuple[str, Result] | None:
    """Take results, and their names out of ``left``, until the child is gone or hangs; then the row that was lost."""
    began_row, since, read = None, time.monotonic(), 0
    while True:
        gone = child.poll() is not None
        found = [json.loads(line) for line in lines.read_text("utf-8").splitlines(keepends=True) if line[-1] == "\n"]
        for line in found[read:]:
            since, began_row = time.monotonic(), line.get("began")
            if (name := line.pop("row", None)) is not None:
                left.remove(name)
                keep(name, line)
        read = len(found)
        if gone:
            break
        limit = START_S if began_row is None else rows[began_row].most_s
        over = time.monotonic() - since > limit or time.monotonic() > ends + OVERTIME_S
        if over and left:
            waited = time.monotonic() - since
            reason = f"no answer for {waited:.0f} s" + ("" if began_row else ", before it began")
            return began_row or left[0], {"status": "timeout", "seconds": waited, "reason": reason}
        time.sleep(POLL_S)
    if not left or (began_row is None and child.returncode == 0):
        return None
    if began_row is None and read:
        return None  # it left between two rows, since its device was spoiled
    reason = f"the process ended with code {child.returncode}"
    return began_row or left[0], {"status": "crashed", "seconds": time.monotonic() - since, "reason": reason}


def _end(child: subprocess.Popen[bytes]) -> None:
    """With all that it started."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()

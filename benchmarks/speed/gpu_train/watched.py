"""One run as a process: who its actors are, their peaks, and the kill of one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.run.status import Status, read_status
from rl.errors import ConfigError

HOOK = Path(__file__).with_name("hook")
POLL_S = 0.3


@dataclass
class Watched:
    """names: of each process that was an actor. killed: the process that was, None: nobody. code: None where it was ended."""

    code: int | None = None
    seconds: float = 0.0
    names: dict[int, str] = field(default_factory=dict)
    killed: int | None = None
    peaks: list[dict[str, Any]] = field(default_factory=list)

    def look(self, status: Status) -> None:
        self.names |= {actor.pid: actor.name for actor in status.actors if actor.pid is not None}


def watch(
    overrides: Sequence[str], run_dir: Path, log: Path, most_s: float, victim: str | None, struck: int
) -> Watched:
    """Run ``unigrpo train`` to its end. victim: killed in step ``struck`` or soon after."""
    memory = run_dir.parent / f"{run_dir.name}-memory"
    memory.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(HOOK), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "UNIGRPO_BENCH_MEMORY": str(memory)}
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", "tiny", *overrides]
    found, began = Watched(), time.monotonic()
    with log.open("wb") as said:
        driver = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            while driver.poll() is None and time.monotonic() - began < most_s:
                with suppress(ConfigError):  # there is none yet
                    status = read_status(run_dir)
                    found.look(status)
                    if victim is not None and found.killed is None and status.step >= struck:
                        found.killed = _kill(next((each.pid for each in status.actors if each.name == victim), None))
                time.sleep(POLL_S)
            found.code = driver.poll()
        finally:
            _end(driver)
    found.seconds = time.monotonic() - began
    found.names[driver.pid] = "the process"
    found.peaks = [_peak(file, found.names) for file in sorted(memory.glob("*.json"))]
    found.peaks = [peak for peak in found.peaks if peak["name"] is not None]
    return found


def steps_of(run_dir: Path) -> list[dict[str, float]]:
    """The numbers of each training step; none where it never came so far."""
    file = run_dir / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []
    return [line for line in lines if "timing_s/step" in line]


def _peak(file: Path, names: dict[int, str]) -> dict[str, Any]:
    return {"name": names.get(int(file.stem)), **json.loads(file.read_text())}


def _kill(pid: int | None) -> int | None:
    """Who was killed."""
    if pid is None:
        return None
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return pid


def _end(driver: subprocess.Popen[bytes]) -> None:
    """First as a user ends a run, so that its Ray ends too."""
    if driver.poll() is not None:
        return
    driver.send_signal(signal.SIGTERM)
    try:
        driver.wait(40)
    except subprocess.TimeoutExpired:
        driver.kill()
        driver.wait()

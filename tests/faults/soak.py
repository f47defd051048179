"""``python -m tests.faults soak --minutes 10``: a random process of the run is killed every few seconds, over one run after
another. Each must end with the bits of an undisturbed one, and have trained on every sample once.

Who is killed is a seeded choice among the processes that are there: one time in five the driver, which is then started
again with the same command, else an actor. A driver that ends by itself with an error, since one call was lost three
times over, is started again as well, and counted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from cluster.run.session import ray_running
from tests.faults.runs import Outcome, fault_config, read_record, run

STEPS = 24
SETTINGS = (
    f"steps={STEPS}", "save_freq=1", "learner.engine=torch", "cluster.rollout_workers=2", "val_after_train=false",
    "cluster.restart_budget=1000", "cluster.learner_rebuilds=1000",
)  # fmt: skip
DRIVER_SHARE = 0.2
TITLES = {"ray::RolloutActor": "rollout worker", "ray::RewardActor": "reward worker", "ray::RankActor": "learner"}


class Killer:
    """A kill every ``every_s`` seconds until ``ends`` (of time.monotonic), whoever is started or ends meanwhile."""

    def __init__(self, seed: int, every_s: float, ends: float) -> None:
        self.killed: Counter[str] = Counter()
        self._random, self._every_s, self._ends = random.Random(seed), every_s, ends
        self._next = time.monotonic() + every_s

    def watch(self, driver: subprocess.Popen[str]) -> None:
        """Until the driver has ended."""
        while driver.poll() is None:
            if self._next <= time.monotonic() < self._ends and self._kill_one(driver):
                self._next = time.monotonic() + self._every_s
            time.sleep(0.1)

    def _kill_one(self, driver: subprocess.Popen[str]) -> bool:
        """Whether there was somebody. Until there are actors the driver is spared: killed as often as it starts, it would
        never get anywhere."""
        actors = sorted(_actors())
        if not actors:
            return False
        who, pid = ("driver", driver.pid) if self._random.random() < DRIVER_SHARE else self._random.choice(actors)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.killed[who] += 1
        return True


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="unigrpo-soak-") as folder:
        home = Path(folder)
        calm = run(fault_config(home, "calm", *SETTINGS, "cluster.mode=inline"))
        with ray_running(fault_config(home, "ray", "cluster.rollout_workers=4")):  # 6 slots: the dead leave theirs late
            ends = time.monotonic() + 60 * options.minutes
            return _soak(home, calm, Killer(options.seed, options.every, ends), ends)


def _soak(home: Path, calm: Outcome, killer: Killer, ends: float) -> int:
    began, number, bad, gave_up = time.monotonic(), 0, 0, 0
    while time.monotonic() < ends:
        number += 1
        before, since = Counter(killer.killed), time.monotonic()
        found, starts, errors = _one(home, f"soak-{number}", killer)
        gave_up += errors
        counts = (found.lost(calm), found.twice(calm), found.stale)
        good = counts == (0, 0, 0) and found.digest == calm.digest
        bad += not good
        struck = ", ".join(f"{who} {count}" for who, count in sorted((killer.killed - before).items())) or "nobody"
        print(
            f"run {number}: {STEPS} steps in {time.monotonic() - since:.0f} s, {starts} starts; killed: {struck}; "
            f"lost {counts[0]}, twice {counts[1]}, stale {counts[2]}, bit-equal {found.digest == calm.digest}",
            flush=True,
        )
    print(
        f"{time.monotonic() - began:.0f} s, {sum(killer.killed.values())} kills ({dict(sorted(killer.killed.items()))}), "
        f"{number} runs, {bad} of them not as undisturbed; {gave_up} times a driver gave up and was started again"
    )
    return int(bad > 0)


def _one(home: Path, name: str, killer: Killer) -> tuple[Outcome, int, int]:
    """One run to its end: its outcome, how often it was started, how often a driver ended by itself with an error."""
    starts = errors = 0
    while True:
        starts += 1
        with subprocess.Popen(child_command(home, name, *SETTINGS), stdout=-1, stderr=-1, text=True) as driver:
            killer.watch(driver)
            said, problem = driver.communicate()
        if driver.returncode == 0:
            digest = json.loads(said.splitlines()[-1])["digest"]
            return Outcome(digest, read_record(home / name)[0], 0.0, 0.0), starts, errors
        if driver.returncode != -signal.SIGKILL:
            errors += 1
            print(f"  the driver gave up: {(problem.strip().splitlines() or ['?'])[-1]}", flush=True)
            assert starts < 100, "it never ends"


def child_command(home: Path, name: str, *settings: str, step: int = 0, worker: str = "", kind: str = "") -> list[str]:
    """A run in a process of its own, as a job of the Ray that this process has."""
    import ray

    address = f"cluster.address='{ray.get_runtime_context().gcs_address}'"
    return [sys.executable, "-m", "tests.faults.child", str(home), name, str(step), worker, kind, *settings, address]


def _actors() -> Iterator[tuple[str, int]]:
    """Those of the run, by what Ray calls their processes, also while they start or work."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            title = "".join(process.cmdline())
            for prefix, who in TITLES.items():
                if title.startswith(prefix):
                    yield who, process.pid

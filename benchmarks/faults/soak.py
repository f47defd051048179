"""A long run of the tiny recipe over Ray with evaluation, checkpoints and MLflow on: whether anything grows.

    python -m benchmarks.faults.soak --steps 2000 --out runs/soak        about an hour on two cores
    python -m benchmarks.faults.soak --steps 30 --out runs/rehearsal     the same, short: that it runs

Every process of the run is looked at from outside every few seconds: memory, open files, sockets, threads, and the files in
/dev/shm. The folder gets ``samples.jsonl``, ``soak.json``, ``soak.md`` and ``soak.png``. Ended on the way, the same command goes
on from the run's last checkpoint; its samples count as a start of their own. After the first 100 steps of a start (a third of
a short run) memory may grow by 5%, a step by 10%, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults.soak_samples import Sample, judged, plot, table
from benchmarks.processes import Held, held, segments, tree
from cluster.console import INTERRUPTED
from cluster.run.status import read_status
from rl.checkpoints.files import write_whole
from rl.errors import ConfigError

NAME, WARM = "run", 100
GONE_S = 20.0  # for Ray's processes to end after the run
HELD_OUT = (
    "data.val=[{source: sudoku4x4, split: val, limit: 16, args: {blanks: [4, 8]}}, {source: easy_vqa, split: val, limit: 16}, "
    "{source: scenes, split: val, limit: 16}]"
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_args(arguments)
    if options.steps < 3:
        print(f"error: --steps {options.steps}: at least 3", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    every = max(1, options.steps // 20)
    settings = [
        f"steps={options.steps}", f"output_dir={options.out}", f"name={NAME}", HELD_OUT,
        f"test_freq={every}", f"save_freq={every}", f"tracking.samples_freq={every}", f"tracking.traces_freq={every}",
        *options.overrides,
    ]  # fmt: skip
    before = segments()
    try:
        code, seen = _run(settings, options.out, options.every)
    except KeyboardInterrupt:
        print(f"ended on the way; the same command goes on, see {options.out / 'run.log'}", file=sys.stderr)
        return INTERRUPTED
    left, segments_left = _left(seen), segments() - before
    samples, step_s = read_samples(options.out / "samples.jsonl"), steps_of(options.out / NAME)
    verdict = judged(samples, step_s, min(WARM, options.steps // 3), left, segments_left)
    verdict["code"] = code
    write_whole(options.out / "soak.json", json.dumps(verdict, indent=1) + "\n")
    write_whole(options.out / "soak.md", table(verdict) + "\n")
    plot(samples, step_s, options.out / "soak.png")
    print(table(verdict))
    return code or int(not verdict["ok"])


def _run(settings: Sequence[str], out: Path, every_s: float) -> tuple[int, dict[int, float]]:
    """Its exit code, and each process that was seen, with the moment of its start."""
    file = out / "samples.jsonl"
    known = read_samples(file)
    start = 1 + max((each.start for each in known), default=-1)
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", "tiny", *settings]
    seen: dict[int, float] = {}
    with (out / "run.log").open("ab") as log, file.open("a", encoding="utf-8") as lines:
        driver = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            while driver.poll() is None:
                found = tree(driver.pid)
                _remember(found, seen)
                sample = Sample(start, time.time(), _step(out / NAME), kinds_of(found), segments())
                if sample.kinds:
                    lines.write(json.dumps(asdict(sample)) + "\n")
                    lines.flush()
                with suppress(subprocess.TimeoutExpired):
                    driver.wait(every_s)
        finally:
            if driver.poll() is None:  # this process was told to end: so is the run, which saves
                driver.terminate()
                driver.wait()
    return driver.returncode, seen


def kinds_of(found: Sequence[Held]) -> dict[str, dict[str, float]]:
    """Sums by name."""
    kinds: dict[str, dict[str, float]] = {}
    for each in found:
        sums = kinds.setdefault(each.name, dict.fromkeys(("pss", "files", "sockets", "threads", "processes"), 0.0))
        for what in ("pss", "files", "sockets", "threads"):
            sums[what] += getattr(each, what)
        sums["processes"] += 1
    return kinds


def read_samples(file: Path) -> list[Sample]:
    """A last line that was cut off is left out."""
    found = []
    for line in file.read_text("utf-8").splitlines() if file.is_file() else ():
        with suppress(ValueError, TypeError):
            found.append(Sample(**json.loads(line)))
    return found


def steps_of(run_dir: Path) -> list[float]:
    """Seconds of each step; of one that was made again, its last."""
    file, found = run_dir / "metrics.jsonl", dict[int, float]()
    for line in file.read_text("utf-8").splitlines() if file.is_file() else ():
        metrics: dict[str, Any] = json.loads(line)
        if "timing_s/step" in metrics:
            found[int(metrics["step"])] = metrics["timing_s/step"]
    return [seconds for _, seconds in sorted(found.items())]


def _step(run_dir: Path) -> int:
    try:
        return read_status(run_dir).step
    except ConfigError:  # there is none yet
        return 0


def _remember(found: Sequence[Held], seen: dict[int, float]) -> None:
    for each in found:
        with suppress(psutil.Error):
            seen[each.pid] = psutil.Process(each.pid).create_time()


def _left(seen: dict[int, float]) -> list[str]:
    """Names of processes of the run that do not end after it."""
    ends = time.monotonic() + GONE_S
    while True:
        alive = [process for pid, began in seen.items() if (process := _alive(pid, began)) is not None]
        if not alive or time.monotonic() > ends:
            return sorted(found.name for process in alive if (found := held(process)) is not None)
        time.sleep(0.5)


def _alive(pid: int, began: float) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        same = process.create_time() == began and process.status() != psutil.STATUS_ZOMBIE
        return process if same else None
    except psutil.Error:
        return None


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())

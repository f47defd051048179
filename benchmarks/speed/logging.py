"""What MLflow costs a step of the tiny recipe: everything on against off, in turns on the same seeds.

    python -m benchmarks.speed.logging [--out runs/logging] [--seeds 0 1 2] [--steps 20] [-- key=value ...]

Every turn is a run in this process, with one thread for sampling and one for learning. Off is ``tracking.mlflow=false``. The
run's own files, its table and its health rules are on in both. The first step is a warm-up. CPU-seconds come from the
clocks of the threads, so a busy machine does not count; the wall time of a step has its noise, and is shown with its spread.

What MLflow costs once is counted apart: to import it, to make the store and the run's page, and to end the run. 20 steps have
what 20 steps of the recipe have: one set of tables, and traces of two steps. Evaluations are off: they take minutes of a run,
and their tables are a smaller share. One line of JSON a turn goes to ``OUT/turns.jsonl``; a turn that is in it is not run again.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from benchmarks.learning.compare import NoCheckpoints
from cluster.run.about import about
from cluster.run.folder import open_run
from cluster.run.preflight import check
from cluster.run.session import session
from rl.config import Config, load_config
from rl.data.stream import PromptStream
from rl.loop import Parts, train
from rl.tracking.trackers import Trackers
from rl.types import Group

TURNS_FILE = "turns.jsonl"
INLINE = (
    "cluster.mode=inline", "rollout.threads=1", "learner.threads=1", "save_freq=0", "test_freq=0",
    "val_before_train=false", "val_after_train=false", "resume_mode=disable",
)  # fmt: skip
SIDES = {"off": ("tracking.mlflow=false",), "on": ()}
THREAD = "mlflow"  # the name of the thread that writes, or that hands on to the process that does
QUIET_S = 0.5
WRITTEN_S = 15.0  # after which nothing waits to be written: numbers gather for 10
START_S = 120.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds so far: of the clock on the wall, of the main thread, of all threads, and of what writes to MLflow."""

    wall: float
    main: float
    process: float
    writer: float

    @staticmethod
    def now() -> Clocks:
        """Called from the main thread."""
        return Clocks(time.perf_counter(), time.thread_time(), time.process_time(), sum(_writers()))


def _writers() -> Iterator[float]:
    """CPU-seconds of each thread and child process that writes to MLflow."""
    for thread in threading.enumerate():
        if thread.name.startswith(THREAD) and thread.ident is not None:
            yield time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    for child in psutil.Process().children():
        times = child.cpu_times()
        yield times.user + times.system


@dataclass
class Meter:
    """A run's trackers, and the clocks at the start of each step, before the end, and after it."""

    trackers: Trackers
    starts: list[Clocks] = field(default_factory=list)
    end: list[Clocks] = field(default_factory=list)  # before the end, once all is written, and after it

    def phase(self, text: str) -> None:
        if text == "training":
            self.starts.append(Clocks.now())
        self.trackers.phase(text)

    def tag(self, name: str, value: str) -> None:
        self.trackers.tag(name, value)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.trackers.log(step, metrics)

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        self.trackers.samples(step, groups, name)

    def rollouts(self, step: int, groups: Sequence[Group]) -> None:
        self.trackers.rollouts(step, groups)

    def close(self, status: str) -> None:
        if not self.end:
            self.end.append(Clocks.now())
            time.sleep(WRITTEN_S if any(True for _ in _writers()) else 0)
            self.end.append(Clocks.now())
            self.trackers.close(status)
            self.end.append(Clocks.now())

    def found(self, once_s: float) -> dict[str, Any]:
        """Figures a step, without the first. At the end all threads but the main one write; a thread that ended has no clock."""
        before, written, after = self.end
        marks = [*self.starts[1:], before]
        walls = [later.wall - earlier.wall for earlier, later in zip(marks, marks[1:], strict=False)]
        first, steps = marks[0], len(marks) - 1
        threads = (after.process - written.process) - (after.main - written.main)
        end_s = max(threads, after.writer - written.writer)
        return {
            "steps": steps,
            "main_ms": round(1000 * (before.main - first.main) / steps, 2),
            "cpu_ms": round(1000 * (before.process - first.process) / steps, 2),
            "writer_ms": round(1000 * (written.writer - first.writer) / steps, 2),
            "once_s": round(once_s + end_s, 2),
            "wall_s": [round(wall, 3) for wall in walls],
        }


def turn(side: str, seed: int, steps: int, out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """One run, and what its steps took."""
    name = f"{side}-{seed}"
    settings = [*INLINE, *SIDES[side], f"output_dir={out}", f"name={name}", f"seed={seed}", f"steps={steps}"]
    config = load_config("tiny", [*settings, *overrides])
    inputs = check(config, needs_train=True, needs_val=False)
    with session(config) as parts:
        began = Clocks.now()
        made = open_run(config, about(config, "train", "tiny", inputs), Console(file=io.StringIO()), steps)
        meter = Meter(made)
        if side == "on":
            made.tag("benchmark", "logging")  # the first event imports MLflow
            _started(config)
        stream = PromptStream(config.data.train, config.seed, inputs.train)
        once = Clocks.now()
        train(Parts(config, stream, (), parts.workers, parts.learner, meter, NoCheckpoints()))
    return {"side": side, "seed": seed, **meter.found(once.writer - began.writer)}


def _started(config: Config) -> None:
    """Wait until the store is reached and nothing is written. Raises TimeoutError."""
    deadline = time.monotonic() + START_S
    before = -1.0
    while time.monotonic() < deadline:
        time.sleep(QUIET_S)
        now = sum(_writers())
        if (config.run_dir / "mlflow_run.json").is_file() and now - before < 0.01:
            return
        before = now
    raise TimeoutError(f"MLflow did not start within {START_S:.0f} s")


def table(turns: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: medians over the turns, their spread (least to most), and shares of a step of the off side."""
    sides = {side: [each for each in turns if each["side"] == side] for side in SIDES}
    lines = ["| of a step | off | on | on less off, same seed |", "|---|---|---|---|"]
    parts = {
        "CPU of the main thread, ms": lambda each: each["main_ms"],
        "CPU of what writes to MLflow, ms": lambda each: each["writer_ms"],
        "wall, ms": lambda each: 1000 * statistics.median(each["wall_s"]),
    }
    for name, value in parts.items():
        columns = {side: {each["seed"]: value(each) for each in rows} for side, rows in sides.items()}
        shared = sorted(columns["off"].keys() & columns["on"].keys())
        paired = [columns["on"][seed] - columns["off"][seed] for seed in shared]
        cells = [_spread(list(column.values())) for column in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} | {_spread(paired)} |")
    off = statistics.median(each["cpu_ms"] for each in sides["off"])
    writer = statistics.median(each["writer_ms"] for each in sides["on"])
    wall = 1000 * statistics.median(statistics.median(each["wall_s"]) for each in sides["off"])
    once = statistics.median(each["once_s"] for each in sides["on"])
    lines += [
        "",
        f"A step takes {off:.0f} ms of CPU. What writes to MLflow takes {writer:.1f} ms of it: {writer / off:.2%}, and "
        f"{writer / wall:.2%} of one core while the step goes on. Once a run: {once:.1f} s of CPU.",
    ]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def read(out: Path) -> list[dict[str, Any]]:
    """The turns that are there."""
    file = out / TURNS_FILE
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/logging"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=20, help="of a turn; the first is a warm-up")
    parser.add_argument("overrides", nargs="*", help="key=value for both sides")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(given.seeds):
        for side in list(SIDES)[:: 1 if number % 2 else -1]:  # who comes first changes from seed to seed
            if not any((each["side"], each["seed"]) == (side, seed) for each in read(given.out)):
                found = turn(side, seed, given.steps, given.out, given.overrides)
                with (given.out / TURNS_FILE).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
                print(json.dumps({key: value for key, value in found.items() if key != "wall_s"}), flush=True)
    print(table(read(given.out)))


if __name__ == "__main__":
    main()

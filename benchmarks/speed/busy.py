"""Steps of the tiny recipe beside busy processes, against the same steps without them, in turns.

    python -m benchmarks.speed.busy [--steps 6] [--turns 2] [--busy 2] [--json busy.json] [key=value ...]

Each turn is a run of its own: quiet, then beside BUSY processes that never wait. Prints the median seconds of a step of each
kind, without the first step of a run, and their ratio. On a machine with as many cores as busy processes, a fair share of the
processor alone makes that ratio 2 or more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--busy", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    given = parser.parse_args()
    seconds: dict[str, list[float]] = {"quiet": [], "busy": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(given.turns):
            for kind, count in (("quiet", 0), ("busy", given.busy)):
                with busy(count):
                    seconds[kind] += steps_of(Path(folder), f"{kind}-{turn}", given.steps, given.overrides)
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    report = {"cores": os.cpu_count(), "busy": given.busy, "seconds": seconds, "median_s": medians}
    report["ratio"] = medians["busy"] / medians["quiet"]
    for kind, values in seconds.items():
        print(f"{kind:6} {medians[kind]:7.2f} s a step, {min(values):.2f} to {max(values):.2f}, {len(values)} steps")
    print(f"ratio  {report['ratio']:7.2f}")
    if given.json:
        given.json.write_text(json.dumps(report, indent=1))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that use the processor without a pause."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def steps_of(folder: Path, name: str, steps: int, overrides: Sequence[str]) -> list[float]:
    """Seconds of each step after the first of a run of the tiny recipe, without evaluation and MLflow."""
    settings = (f"steps={steps}", f"name={name}", f"output_dir={folder}", "tracking.mlflow=false", *overrides)
    quiet = ("test_freq=0", "val_before_train=false", "save_freq=0")
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", "tiny", *settings, *quiet]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
    return [value for line in lines if (value := line.get("metrics", line).get("timing_s/step"))][1:]


if __name__ == "__main__":
    main()

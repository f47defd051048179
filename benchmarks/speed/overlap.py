"""How much of a step waits for a slow reward, beside what the arithmetic says.

    python -m benchmarks.speed.overlap [--wait 0.05 0.5] [--out runs] [-- key=value ...]

A group is scored as soon as it is sampled, by any free reward worker. So with groups that come in one after the other
every ``gen / n`` seconds and take ``wait * G`` each, the last score comes when a first-come-first-served queue with that
many servers is done; what of that lies behind the last sample is exposed. Each line is one step of a real run over Ray.
"""

from __future__ import annotations

import argparse
import heapq
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RECIPE = Path(__file__).parent / "overlap.yaml"
GROUPS, SIZE, WORKERS = 16, 4, 2  # of the recipe


def finished(ready: Sequence[float], seconds: float, workers: int) -> list[float]:
    """When each group is scored, if the i-th is ready at ``ready[i]`` and any free worker takes the first in line."""
    free = [0.0] * workers
    ends = []
    for moment in ready:
        ends.append(max(moment, heapq.heappop(free)) + seconds)
        heapq.heappush(free, ends[-1])
    return ends


def expected(gen_s: float, wait_s: float) -> float:
    """Exposed seconds of a step whose groups come in at equal distances until ``gen_s``."""
    ready = [gen_s * (index + 1) / GROUPS for index in range(GROUPS)]
    return max(finished(ready, wait_s * SIZE, WORKERS)) - gen_s


def measure(wait_s: float, out: Path, overrides: Sequence[str]) -> None:
    name = f"overlap-{wait_s:g}"
    settings = [
        f"name={name}",
        f"output_dir={out}",
        f"custom_reward_function.reward_kwargs.wait_s={wait_s}",
        *overrides,
    ]
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", str(RECIPE), *settings]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in (out / name / "metrics.jsonl").read_text().splitlines():
        metrics = json.loads(line)
        if (step_s := metrics.get("timing_s/step")) is None:
            continue
        exposed, gen = metrics["perf/exposed_reward_s"], metrics["timing_s/gen"]
        print(
            f"{wait_s * 1000:g} ms an item, step {metrics['step']}: step {step_s:.2f} s, sampling {gen:.2f} s, exposed "
            f"{exposed:.2f} s = {exposed / step_s:.1%} of it; by the arithmetic {expected(gen, wait_s):.2f} s"
        )
    print("\n".join(line for line in said.splitlines() if "waited" in line) or "no step waited a tenth of its time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wait", type=float, nargs="+", default=[0.05, 0.5])
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    for wait_s in arguments.wait:
        measure(wait_s, arguments.out, arguments.overrides)


if __name__ == "__main__":
    main()

"""What rollouts ahead of the learner give a run whose reward is slow, beside what the arithmetic allows.

    python -m benchmarks.speed.ahead [--wait 0.1] [--steps 8] [--out runs] [-- key=value ...]

Two runs of ``overlap.yaml`` over Ray, with ``max_staleness`` 0 and 1. On-policy, a step is sampling, what of scoring is not
hidden behind it, and learning, one after the other. With one batch more in hand they overlap; the time of a step is then
bounded by each of them alone (rollout workers, reward workers, the learner), and by half of the way of one batch through
all of them, since two batches are under way. Rewards wait and do not compute, so that they overlap on any machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.speed.overlap import GROUPS, RECIPE, SIZE, WORKERS

LEARNING = ("timing_s/old_log_prob", "timing_s/ref", "timing_s/update_actor", "timing_s/update_weights")
WARM = 2  # first steps that are left out: processes warm up, and the pipeline fills


def allowed(gen_s: float, exposed_s: float, learn_s: float, scoring_s: float) -> float:
    """The least seconds of a step with ``max_staleness=1``. scoring_s: of one step, over all reward workers side by side."""
    return max(gen_s, scoring_s, learn_s, (gen_s + exposed_s + learn_s) / 2)


def measure(staleness: int, wait_s: float, steps: int, out: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Medians over the steps of a run, by metric name."""
    name = f"ahead-{staleness}"
    settings = (
        f"name={name}", f"output_dir={out}", f"steps={steps}", f"max_staleness={staleness}",
        f"custom_reward_function.reward_kwargs.wait_s={wait_s}", *overrides,
    )  # fmt: skip
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", str(RECIPE), *settings]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (out / name / "metrics.jsonl").read_text().splitlines()]
    rows = [line for line in lines if "timing_s/step" in line][WARM:]
    rows = rows[:-1] if staleness else rows  # nothing is begun during the last step
    return {
        key: statistics.median(row[key] for row in rows) for key in rows[0] if key.startswith(("timing_s/", "perf/"))
    }


def report(calm: Mapping[str, float], ahead: Mapping[str, float], wait_s: float) -> dict[str, float]:
    learn_s = sum(calm[name] for name in LEARNING)
    least = allowed(calm["timing_s/gen"], calm["perf/exposed_reward_s"], learn_s, GROUPS * SIZE * wait_s / WORKERS)
    samples = GROUPS * SIZE * 3600
    before, after = calm["timing_s/step"], ahead["timing_s/step"]
    return {
        "step_s": before,
        "step_s_ahead": after,
        "step_s_allowed": least,
        "samples_per_hour": samples / before,
        "samples_per_hour_ahead": samples / after,
        "samples_per_hour_allowed": samples / least,
        "of_allowed": least / after,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wait", type=float, default=0.1, help="seconds that the reward waits for one sample")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    calm, ahead = (
        measure(staleness, options.wait, options.steps, options.out, options.overrides) for staleness in (0, 1)
    )
    print(json.dumps({name: round(value, 3) for name, value in report(calm, ahead, options.wait).items()}, indent=1))


if __name__ == "__main__":
    main()

"""Seconds of a step that compute nothing: a run's own, beside a driver that starts a process for each stage of each step.

    python -m benchmarks.speed.process_per_stage [--recipe tiny] [--steps 5] [--out runs] [-- key=value ...]

The driver is the layout of dLLM-RL and its like: sample, score and learn are programs of their own, which load what they
need from disk and leave what they made there. Policy, recipe, seeds and the code of each stage are the run's, and so are
the final weights, to the bit (a test says so), so the two differ by where the stages live alone. A step's fixed seconds are
its wall time less its sampling, scoring and learning. The run is over Ray, as its recipe says; its fixed seconds are
``perf/orchestration_s``.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.learner.one_rank import FrozenLearner, make_learner
from cluster.weights.digest import digest, sha256
from cluster.workers.reward import RewardWorker
from cluster.workers.rollout import RolloutWorker
from rl.config import Config, load_config
from rl.data.stream import PromptStream
from rl.prepare import prepare
from rl.seeds import derive_seed
from rl.types import Group, WeightRef

WARM = 1  # first steps that are left out


def sample(config: Config, step: int, folder: Path) -> float:
    stream = PromptStream(config.data.train, config.seed)
    state = folder / "stream.json"
    if step:
        stream.restore(json.loads(state.read_text()))
    prompts = stream.next(config.rollout.batch_size)
    state.write_text(json.dumps(stream.state()))
    learner = FrozenLearner(config)
    if step:
        learner.load(folder / "learner")
    weights = learner.weights()
    ref, worker = WeightRef(step, digest(weights)), RolloutWorker(config)
    worker.load_weights(ref, weights)
    began = time.perf_counter()
    seed = derive_seed(config.seed, "rollout", step)
    sampled = [(prompt, worker.rollout(prompt, ref, seed)) for prompt in prompts]
    seconds = time.perf_counter() - began
    (folder / "rollouts.pickle").write_bytes(pickle.dumps(sampled))
    return seconds


def score(config: Config, step: int, folder: Path) -> float:
    sampled = pickle.loads((folder / "rollouts.pickle").read_bytes())
    worker = RewardWorker(config)
    began = time.perf_counter()
    groups = [Group(prompt, rollouts, worker.score(prompt, rollouts)) for prompt, rollouts in sampled]
    seconds = time.perf_counter() - began
    (folder / "groups.pickle").write_bytes(pickle.dumps(groups))
    return seconds


def learn(config: Config, step: int, folder: Path) -> float:
    groups = pickle.loads((folder / "groups.pickle").read_bytes())
    learner = make_learner(config)
    if step:
        learner.load(folder / "learner")
    began = time.perf_counter()
    learner.update(prepare(groups, config, step, weight_version=step))
    seconds = time.perf_counter() - began
    learner.save(folder / "learner")
    (folder / "digest.txt").write_text(sha256(learner.weights()))
    learner.close()
    return seconds


STAGES: dict[str, Callable[[Config, int, Path], float]] = {"sample": sample, "score": score, "learn": learn}


def drive(recipe: str, steps: int, folder: Path, overrides: Sequence[str]) -> list[tuple[float, float]]:
    """(wall seconds, of them in stages) of each step."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    for step in range(steps):
        began, working = time.perf_counter(), 0.0
        for stage in STAGES:
            named = ["--stage", stage, "--step", str(step), "--recipe", recipe, "--out", str(folder), "--", *overrides]
            command = [sys.executable, "-m", "benchmarks.speed.process_per_stage", *named]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            working += float(said.splitlines()[-1])
        taken.append((time.perf_counter() - began, working))
    return taken


def run(recipe: str, out: Path, overrides: Sequence[str]) -> list[float]:
    """``perf/orchestration_s`` of each step of a run."""
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", recipe, *overrides]
    settings = ["name=one_run", f"output_dir={out}", "save_freq=0", "test_freq=0", "tracking.mlflow=false"]
    without = ["val_before_train=false", "val_after_train=false"]
    subprocess.run([*command, *settings, *without], check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (out / "one_run" / "metrics.jsonl").read_text().splitlines()]
    return [line["perf/orchestration_s"] for line in lines if "perf/orchestration_s" in line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--stage", choices=sorted(STAGES), help=argparse.SUPPRESS)
    parser.add_argument("--step", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    overrides = [*options.overrides, f"steps={options.steps}"] if options.stage is None else options.overrides
    if options.stage is not None:
        config = load_config(options.recipe, overrides)
        print(STAGES[options.stage](config, options.step, options.out))
        return
    staged = drive(options.recipe, options.steps, options.out / "staged", overrides)[WARM:]
    whole = run(options.recipe, options.out, overrides)[WARM:]
    driver_s = statistics.median(wall - working for wall, working in staged)
    run_s = statistics.median(whole)
    told = {
        "step_s_staged": statistics.median(wall for wall, _ in staged),
        "fixed_s_staged": driver_s,
        "fixed_s_run": run_s,
        "ratio": driver_s / run_s,
    }
    print(json.dumps({name: round(value, 3) for name, value in told.items()}, indent=1))


if __name__ == "__main__":
    main()

"""Whole small runs over Ray with accidents, and what is counted of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.actors.faults import Fault, FaultPlan, Kind
from cluster.run.session import session
from cluster.run.sigterm import stopping
from rl.checkpoints.folder import FolderCheckpoints
from rl.config import Config, SourceConfig
from rl.data.stream import PromptStream
from rl.loop import Parts, train
from rl.protocols import Learner, RunsAhead
from rl.tracking.trackers import JsonlTracker
from rl.types import Group, Prompt, WeightRef
from tests.cluster.runs import HELD_OUT, MAKERS, make_config

QUICK = (
    "cluster.mode=ray",
    "cluster.heartbeat_s=4",
    "cluster.learner_rebuilds=9",
    "cluster.reward_deadline_s=60",
    "val_before_train=false",
)


@dataclass(frozen=True, slots=True)
class Trained:
    """The groups of one step of the final run: (prompt, member, seed) of every rollout, and how many are of old weights."""

    samples: Counter[tuple[str, int, int]]
    stale: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """digest: of the final weights. recovered_s: from the accident to the end of the step that it hit."""

    digest: str
    steps: Mapping[int, Trained]
    recovered_s: float
    seconds: float

    def lost(self, other: Outcome) -> int:
        """Samples that ``other``, an undisturbed run, trained on at a step and this one did not."""
        return sum((self._all_of(other) - self._all_of(self)).values())

    def twice(self, other: Outcome) -> int:
        return sum((self._all_of(self) - self._all_of(other)).values())

    @property
    def stale(self) -> int:
        return sum(step.stale for step in self.steps.values())

    @staticmethod
    def _all_of(outcome: Outcome) -> Counter[tuple[int, tuple[str, int, int]]]:
        return Counter({(n, key): count for n, step in outcome.steps.items() for key, count in step.samples.items()})


class Timetable(FaultPlan):
    """A plan that remembers when it injected a fault."""

    def __init__(self) -> None:
        super().__init__()
        self.injected_at: list[float] = []

    def inject(self, worker: str, pid: int | None) -> None:
        before = len(self.left)
        super().inject(worker, pid)
        if len(self.left) < before:
            self.injected_at.append(time.time())


class Recorded:
    """The workers of a run on-policy, with a line in the run folder for every batch that was handed out to be trained."""

    def __init__(self, workers: RunsAhead, file: Path) -> None:
        self._workers, self._file = workers, file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workers, name)

    def rollout_and_score(
        self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False
    ) -> list[Group]:
        groups = self._workers.rollout_and_score(prompts, weights, seed, evaluate=evaluate)
        if not evaluate:
            rows = [
                [rollout.prompt_id, rollout.index, rollout.seed, rollout.weight_version]
                for group in groups
                for rollout in group.rollouts
            ]
            self._file.parent.mkdir(exist_ok=True)
            with self._file.open("a") as file:
                file.write(json.dumps({"step": weights.version + 1, "rows": rows, "time": time.time()}) + "\n")
        return groups


def fault_config(folder: Path, name: str, *overrides: str) -> Config:
    return make_config(folder, *QUICK, f"name={name}", *overrides)


def run(config: Config, plan: Timetable | None = None, tracker: Any = None) -> Outcome:
    """The run, or the rest of one; raises what it raises."""
    began, plan = time.time(), plan or Timetable()
    config.run_dir.mkdir(parents=True, exist_ok=True)
    rows = [[make(index) for index in range(4)] for make in MAKERS]
    stream = PromptStream([SourceConfig(make.__name__) for make in MAKERS], config.seed, rows)
    tracker = tracker or JsonlTracker(config.run_dir, keep_until=float("inf"))
    with session(config, faults=plan) as parts, stopping(config.cluster.grace_s) as stop:
        workers: Any = parts.workers
        if config.max_staleness == 0:
            workers = Recorded(parts.workers, record_file(config.run_dir))
        learner: Learner = parts.learner
        result = train(Parts(config, stream, HELD_OUT, workers, learner, tracker, FolderCheckpoints(config)), stop)
    assert not plan.left, f"never happened: {plan.left}"
    steps, ends = read_record(config.run_dir) if config.max_staleness == 0 else ({}, [])
    last = plan.injected_at[-1] if plan.injected_at else None
    recovered = 0.0 if last is None else min((end for end in ends if end > last), default=time.time()) - last
    return Outcome(result.weights.digest, steps, recovered, time.time() - began)


def record_file(run_dir: Path) -> Path:
    """Beside the run's folder, whose disk may be full."""
    return run_dir.parent / "records" / f"{run_dir.name}.jsonl"


def read_record(run_dir: Path) -> tuple[dict[int, Trained], list[float]]:
    """What the final run trained on: where a step was done again, its last time counts. And when steps were sampled."""
    steps: dict[int, Trained] = {}
    ends: list[float] = []
    for line in record_file(run_dir).read_text().splitlines():
        row = json.loads(line)
        step = row["step"]
        steps = {number: value for number, value in steps.items() if number < step}  # the run went back to here
        samples = Counter((prompt, index, seed) for prompt, index, seed, _ in row["rows"])
        steps[step] = Trained(samples, sum(version != step - 1 for *_, version in row["rows"]))
        ends.append(row["time"])
    return steps, ends


def plan_of(*faults: tuple[int, str, Kind]) -> Timetable:
    plan = Timetable()
    plan.left = [Fault(*fault) for fault in faults]
    return plan

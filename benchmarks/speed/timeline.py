"""Who did what when in the steps of a run over Ray: sampling, scoring, learning, and new weights on their way.

    python -m benchmarks.speed.timeline [--recipe tiny] [--steps 6] [--out timeline] [-- key=value ...]

Each actor writes down when its work began and ended; the last step but one is drawn as text, a row an actor, and all of it
goes to ``OUT.json``. What of a worker's loading lies beside others' sampling or learning is overlapped; what nothing else
goes on beside is exposed. The gaps are a worker's time between two of its calls: Ray's part of sampling.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from cluster.actors.heartbeat import OPTIONS
from cluster.actors.resources import Placement, place
from cluster.learner.batch_wire import WireBatch
from cluster.learner.rank_actor import RankActor
from cluster.learner.rank_group import RankGroup
from cluster.run import preflight
from cluster.run.session import ray_running
from cluster.weights.base import Published
from cluster.workers.actors import RewardActor, RolloutActor, Sampled, Scored
from cluster.workers.on_ray import RayWorkers
from rl.checkpoints.folder import FolderCheckpoints
from rl.config import Config, load_config
from rl.data.stream import PromptStream
from rl.loop import Parts, train
from rl.tracking.trackers import JsonlTracker
from rl.types import Prompt, StepReport, WeightRef

MARKS = {"sample": "#", "score": "$", "learn": "L", "publish": "p", "send": "p", "load": "w"}
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Event:
    """began, ended: seconds since 1970. version: of the weights that it worked at, or handed on."""

    who: str
    what: str
    version: int
    began: float
    ended: float


@contextmanager
def noted(folder: str, who: str, what: str, version: int) -> Iterator[None]:
    began = time.time()
    yield
    with Path(folder, f"{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps([who, what, version, began, time.time()]) + "\n")


class NotedRollout(RolloutActor):
    def receive_weights(self, wire: str, published: Published, body: Any) -> None:
        with noted(self._folder_of_notes, self._name, "load", published.ref.version):
            super().receive_weights(wire, published, body)

    def rollout(self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, evaluate: bool) -> tuple[Sampled, ...]:
        with noted(self._folder_of_notes, self._name, "sample", weights.version):
            return super().rollout(prompts, weights, seed, evaluate)

    @property
    def _folder_of_notes(self) -> str:
        return str(self._config.run_dir / "notes")


class NotedReward(RewardActor):
    def score(self, prompts: Sequence[Prompt], sampled: Sequence[Sampled], *more: Any) -> tuple[Scored, ...]:
        version = sampled[0].value[0].weight_version
        with noted(str(self._config.run_dir / "notes"), self._name, "score", version):
            return super().score(prompts, sampled, *more)


class NotedRank(RankActor):
    def update(self, batch: WireBatch) -> StepReport:
        self._learned = getattr(self, "_learned", -1) + 1
        with self._noted("learn", self._learned):
            return super().update(batch)

    def publish(self, version: int) -> tuple[Published | None, Any]:
        with self._noted("publish", version):
            return super().publish(version)

    def serve(self, request: Any, *after: bool) -> Any:
        with self._noted("send", getattr(self, "_learned", -1) + 1):
            return super().serve(request, *after)

    def _noted(self, what: str, version: int) -> Any:
        return noted(str(self._config.run_dir / "notes"), f"learner rank {self._rank}", what, version)


class NotedWorkers(RayWorkers):
    def rollout_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        actor = ray.remote(**placement.rollout, **OPTIONS)(NotedRollout)
        return lambda index: actor.remote(config, f"rollout worker {index}", placement.folder)

    def reward_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        actor = ray.remote(**placement.reward, **OPTIONS)(NotedReward)
        return lambda index: actor.remote(config, f"reward worker {index}", placement.folder, placement.secrets)


class NotedRanks(RankGroup):
    rank_class = NotedRank


def run(recipe: str, overrides: Sequence[str]) -> tuple[list[Event], list[dict[str, float]]]:
    """A run's events in the order of their beginnings, and the numbers of its steps."""
    quiet = ("save_freq=0", "test_freq=0", "val_before_train=false", "val_after_train=false", "tracking.mlflow=false")
    config = load_config(recipe, [*quiet, "resume_mode=disable", *overrides])
    inputs = preflight.check(config, needs_train=True, needs_val=False)
    notes = config.run_dir / "notes"
    notes.mkdir(parents=True, exist_ok=True)
    for old in notes.iterdir():
        old.unlink()
    with ray_running(config):
        workers = NotedWorkers(config, place(config))
        learner = NotedRanks(config, place(config), beside=workers)
        try:
            workers.wait_ready()
            learner.wait_ready()
            stream = PromptStream(config.data.train, config.seed, inputs.train)
            tracker, checkpoints = JsonlTracker(config.run_dir), FolderCheckpoints(config)
            train(Parts(config, stream, [], workers, learner, tracker, checkpoints))
        finally:
            workers.close()
            learner.close()
    lines = [json.loads(line) for file in notes.glob("*.jsonl") for line in file.read_text().splitlines()]
    metrics = [json.loads(line) for line in (config.run_dir / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in metrics if "timing_s/step" in line]
    return sorted((Event(*line) for line in lines), key=lambda event: event.began), steps


def between(events: Sequence[Event], began: float, ended: float) -> list[Event]:
    return [event for event in events if event.began < ended and event.ended > began]


def drawn(events: Sequence[Event], began: float, ended: float) -> str:
    """A row an actor; a column is the hundredth part of the time between."""
    rows: dict[str, list[str]] = defaultdict(lambda: [" "] * WIDTH)
    column = (ended - began) / WIDTH
    for event in between(events, began, ended):
        first = max(0, int((event.began - began) / column))
        last = min(WIDTH - 1, int((event.ended - began) / column))
        for at in range(first, last + 1):
            rows[event.who][at] = MARKS[event.what]
    marks = ", ".join(f"{mark} {what}" for what, mark in MARKS.items() if what != "send")
    scale = f"{ended - began:.2f} s from left to right; {marks}"
    return "\n".join([*(f"{who:17} |{''.join(row)}|" for who, row in sorted(rows.items())), f"{'':17}  {scale}"])


def exposed_s(events: Sequence[Event], what: frozenset[str], others: frozenset[str]) -> float:
    """Seconds in which somebody does one of ``what`` and nobody one of ``others``."""
    edges = sorted({edge for event in events for edge in (event.began, event.ended)})
    total = 0.0
    for low, high in zip(edges, edges[1:], strict=False):
        now = {event.what for event in events if event.began < high and event.ended > low}
        total += (high - low) * bool(now & what and not now & others)
    return total


def report(events: Sequence[Event], version: int) -> dict[str, float]:
    """Milliseconds of the step that starts from weights ``version``: from its first publishing to the next one's."""
    began, ended = (
        min(event.began for event in events if event.what in ("publish", "send") and event.version == number)
        for number in (version, version + 1)
    )
    here = [event for event in events if began <= event.began < ended]
    moving, working = frozenset(("publish", "send", "load")), frozenset(("sample", "score", "learn"))
    gaps: list[float] = []
    for who in {event.who for event in here if event.what == "sample"}:
        own = [event for event in here if event.who == who and event.what == "sample"]
        gaps += [later.began - earlier.ended for earlier, later in zip(own, own[1:], strict=False)]
    return {
        "step_ms": 1000 * (ended - began),
        "weights_exposed_ms": 1000 * exposed_s(here, moving, working),
        "nobody_works_ms": 1000 * (ended - began - exposed_s(here, moving | working, frozenset())),
        "gap_between_groups_ms": 1000 * statistics.median(gaps) if gaps else 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("runs/timeline"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    for sync in ("object_store", "collective"):
        named = [f"steps={options.steps}", f"output_dir={options.out}", f"name={sync}", f"cluster.weight_sync={sync}"]
        events, steps = run(options.recipe, [*named, *options.overrides])
        (options.out / f"{sync}.json").write_text(json.dumps([list(vars_of(event)) for event in events]))
        first, last = (
            min(event.began for event in events if event.what in ("publish", "send") and event.version == number)
            for number in (options.steps - 2, options.steps - 1)
        )
        print(f"\ncluster.weight_sync={sync}\n{drawn(events, first, last)}")
        rows = [report(events, version) for version in range(1, options.steps - 1)]
        told = {key: round(statistics.median(row[key] for row in rows), 1) for key in rows[0]}
        shares = [step["perf/orchestration_share"] for step in steps[2:] if "perf/orchestration_share" in step]
        told |= {"orchestration_share": round(statistics.median(shares), 4)} if shares else {}
        print(json.dumps(told))


def vars_of(event: Event) -> tuple[Any, ...]:
    return event.who, event.what, event.version, event.began, event.ended


if __name__ == "__main__":
    main()

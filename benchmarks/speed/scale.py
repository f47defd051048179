"""How far one controller goes: the real loop, pools and Ray, with workers that sleep where they would compute.

Everything but the arithmetic of the model is real: the loop of ``rl.loop``, the scheduler of ``cluster.workers.on_ray``, its
pools, Ray's actor calls, rollouts of real size through them, advantages and mask draws, weights through the object
store. A worker sleeps as long as a group takes to sample, drawn once for every prompt.

Simulated workers share processes, since this machine has not the memory for a thousand Pythons: each has a thread
of its own there, and is an actor to the pool. What that leaves out: the starting of a thousand processes, the network
between nodes, and a node's own daemon, which does 1/nodes of the work that the one here does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray

from cluster.actors.resources import Placement
from cluster.run.session import ray_running
from cluster.weights.base import Published, WeightWire
from cluster.weights.digest import Weights, digest
from cluster.workers.actors import RewardActor, RolloutActor
from cluster.workers.on_ray import RayWorkers
from cluster.workers.reward import Parts
from rl.config import Config, SourceConfig, build_config
from rl.data.stream import PromptStream
from rl.loop import Parts as RunParts
from rl.loop import train
from rl.seeds import derive_seed
from rl.types import (
    Group,
    Message,
    Modality,
    Prompt,
    Rollout,
    RolloutStatus,
    Score,
    Span,
    StepReport,
    Task,
    TrainBatch,
    WeightRef,
)  # fmt: skip

COUNTS = (1, 4, 16, 64, 256, 1024)
PROCESSES = 2  # at most, for all rollout workers; reward workers have one
WEIGHTS = 1_000_000  # numbers in the weights that are handed out: what they cost a cluster is another measurement


@dataclass(frozen=True, slots=True)
class Shape:
    """seconds: of a group, on average; spread: standard deviation of its logarithm. groups: a worker's, in one step."""

    seconds: float = 10.0
    spread: float = 0.1
    groups: int = 4
    steps: int = 2
    group_size: int = 8
    tokens: int = 512
    reward_s: float = 0.05


def run(
    counts: Sequence[int] = COUNTS, shape: Shape | None = None, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """One row a number of workers. The first step of each is a warm-up; figures are means over the others."""
    shape = shape or Shape()
    rows = []
    with ray_running(config_for(1, shape)):  # Ray starts a process for every CPU that it is told of: few
        for count in counts:
            rows.append(measure(count, shape))
            say(line(rows[-1]))
    return {"shape": {name: getattr(shape, name) for name in shape.__slots__}, "rows": rows}


def measure(count: int, shape: Shape) -> dict[str, float]:
    """``count`` simulated workers on the Ray that runs.

    efficiency   the step's shortest possible time (the same groups, in the same order, to workers that cost nothing to
                 command) over its measured time
    controller_s CPU seconds of this process, which is the controller, a step
    """
    config = config_for(count, shape)
    workers, recorder = SimulatedWorkers(config, shape), Recorder()
    try:
        workers.wait_ready()
        _train(config, shape, workers, recorder)
    finally:
        workers.close()
    steps = recorder.steps[1:]
    ideal = [schedule(seconds, count) + shape.reward_s for seconds in workers.slept[1:]]
    wall = [step.wall for step in steps]
    return {
        "workers": count,
        "processes": workers.processes,
        "groups_a_step": count * shape.groups,
        "step_s": float(np.mean(wall)),
        "ideal_s": float(np.mean(ideal)),
        "efficiency": float(np.sum(ideal) / np.sum(wall)),
        "controller_s": float(np.mean([step.cpu for step in steps])),
        "controller_ms_a_group": 1000 * float(np.mean([step.cpu for step in steps])) / (count * shape.groups),
    }


def schedule(seconds: Sequence[float], workers: int) -> float:
    """When the last group ends, if each goes to the worker that is free first, in their order."""
    free = np.zeros(workers)
    for duration in seconds:
        free[np.argmin(free)] += duration
    return float(free.max())


def line(row: Mapping[str, float]) -> str:
    return (
        f"{row['workers']:5.0f} workers in {row['processes']:.0f} processes: step {row['step_s']:6.1f} s of at least "
        f"{row['ideal_s']:.1f} s, efficiency {row['efficiency']:6.1%}, controller {row['controller_s']:6.2f} CPU s "
        f"({row['controller_ms_a_group']:.1f} ms a group)"
    )


def config_for(count: int, shape: Shape) -> Config:
    reward_workers = max(1, -(-count // 16))
    return build_config(
        [
            (
                "bench scale",
                {
                    "steps": shape.steps,
                    "rollout": {"batch_size": count * shape.groups, "n_samples_per_prompt": shape.group_size},
                    "cluster": {"rollout_workers": count, "reward_workers": reward_workers},
                    "learner": {"algorithm": {"mu": 4}},
                    "tracking": {"mlflow": False},
                    "val_before_train": False,
                    "val_after_train": False,
                },
            )
        ]
    )


def group_seconds(shape: Shape, seed: int, prompt: Prompt) -> float:
    """The same wherever it is asked for: the controller knows the shortest time from it."""
    noise = np.random.default_rng(derive_seed(seed, prompt.id, "seconds")).standard_normal()
    return shape.seconds * float(np.exp(shape.spread * noise - shape.spread**2 / 2))


class SimulatedWorkers(RayWorkers):
    """Real pools over seats in shared processes."""

    def __init__(self, config: Config, shape: Shape) -> None:
        count = config.cluster.rollout_workers
        self.processes = min(PROCESSES, count)
        self.slept: list[list[float]] = []
        self._shape = shape
        self._process_actors: list[Any] = []
        super().__init__(config, Placement({}, {}, {}, {}, "."))

    def rollout_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        return self._seats(config.cluster.rollout_workers, self.processes)

    def reward_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        return self._seats(config.cluster.reward_workers, 1)

    def begin(self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False) -> int:
        self.slept.append([group_seconds(self._shape, seed, prompt) for prompt in prompts])
        return super().begin(prompts, weights, seed, evaluate=evaluate)

    def close(self) -> None:
        super().close()
        for actor in self._process_actors:
            ray.kill(actor)

    def _seats(self, count: int, processes: int) -> Callable[[int], Any]:
        each = -(-count // processes)
        made = ray.remote(SeatProcess).options(num_cpus=0, max_concurrency=each + 1)
        actors = [made.remote(self._shape) for _ in range(processes)]
        self._process_actors += actors
        return lambda index: Seat(actors[index % processes], index)


@dataclass(frozen=True, slots=True)
class Seat:
    """To a pool, an actor: ``seat.method.remote(...)`` runs on this worker in the process that it shares."""

    process: Any
    index: int

    def __getattr__(self, method: str) -> _Method:
        return _Method(self.process, self.index, method)


@dataclass(frozen=True, slots=True)
class _Method:
    process: Any
    index: int
    name: str

    def remote(self, *args: Any) -> Any:
        return self.process.call.remote(self.index, self.name, *args)

    def options(self, **_: Any) -> _Method:
        return self


class SeatProcess:
    """Many simulated workers in one process, each with what the real actor around it does."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._seats: dict[tuple[int, bool], Any] = {}

    def call(self, index: int, method: str, *args: Any) -> Any:
        scores = method == "score"
        seat = self._seats.get((index, scores))
        if seat is None:
            seat = self._seats[index, scores] = (SleepingReward if scores else SleepingRollout)(self._shape)
        return getattr(seat, method)(*args)


class SleepingRollout(RolloutActor):
    """The real actor, with a worker inside that sleeps."""

    def __init__(self, shape: Shape) -> None:
        self._made: Any = _Sampler(shape)
        self._name = "simulated"
        self._wires = {}


class SleepingReward(RewardActor):
    def __init__(self, shape: Shape) -> None:
        self._made: Any = _Scorer(shape)
        self._name = "simulated"


class _Sampler:
    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def receive_weights(self, wire: WeightWire, published: Published, body: Any) -> None:
        """Arrived, which is what the controller waits for; checking them costs a worker's time, not the controller's."""

    def rollout(self, prompt: Prompt, weights: WeightRef, seed: int, evaluate: bool = False) -> tuple[Rollout, ...]:
        shape = self._shape
        time.sleep(group_seconds(shape, seed, prompt))
        length = shape.tokens
        return tuple(
            Rollout(
                prompt_id=prompt.id,
                index=index,
                token_ids=np.arange(length),
                response_mask=np.arange(length) >= length // 2,
                step_map=np.arange(length, dtype=np.int32),
                seed=derive_seed(seed, prompt.id, index),
                weight_version=weights.version,
                status=RolloutStatus.COMPLETE,
                text="x" * length,
                spans=(Span(length // 2, length, Modality.TEXT),),
            )
            for index in range(shape.group_size)
        )


class _Scorer:
    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def score(
        self, prompt: Prompt, rollouts: Sequence[Rollout], evaluate: bool, known: Sequence[Parts] = ()
    ) -> tuple[Score, ...]:
        time.sleep(self._shape.reward_s)
        return tuple(Score(float(rollout.index % 2), parts={"correctness": 1.0}) for rollout in rollouts)


class SleepingLearner:
    """Takes no time: what the learner takes is another part of a step, and the same for any number of workers."""

    def __init__(self) -> None:
        self._weights = {"weight": np.zeros(WEIGHTS, dtype=np.float32)}
        self.digest = digest(self._weights)

    def update(self, batch: TrainBatch) -> StepReport:
        return StepReport({"rollouts": float(len(batch))})

    def weights(self) -> Weights:
        return self._weights

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class StepCost:
    wall: float
    cpu: float


class Recorder:
    """A tracker that notes when each step's numbers came, and what this process had used by then."""

    def __init__(self) -> None:
        self.steps: list[StepCost] = []
        self._cpu = time.process_time()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if "timing_s/step" not in metrics:
            return
        cpu = time.process_time()
        self.steps.append(StepCost(metrics["timing_s/step"], cpu - self._cpu))
        self._cpu = cpu

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None: ...

    def rollouts(self, step: int, groups: Sequence[Group]) -> None: ...

    def phase(self, text: str) -> None: ...

    def tag(self, name: str, value: str) -> None: ...

    def close(self, status: str) -> None: ...


class NoCheckpoints:
    def resume(self, learner: Any) -> Mapping[str, Any]:
        return {}

    def go_back(self, learner: Any) -> Mapping[str, Any]:
        return {}

    def save(self, step: int, learner: Any, state: Mapping[str, Any]) -> Path:
        return Path()

    def rate(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def rated(self, step: int) -> bool:
        return False


def _train(config: Config, shape: Shape, workers: SimulatedWorkers, recorder: Recorder) -> None:
    size = config.rollout.batch_size
    rows = [[Prompt(f"simulated/{index}", Task.TEXT, (Message("user", f"question {index}"),)) for index in range(size)]]
    stream = PromptStream([SourceConfig("simulated")], config.seed, rows)
    train(RunParts(config, stream, [], workers, SleepingLearner(), recorder, NoCheckpoints()))

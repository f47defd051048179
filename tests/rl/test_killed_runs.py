"""A run that ends at any place of a step, and goes on: what it leaves is what an unbroken one leaves.

The parts are made anew for each process, so that nothing but files passes from one to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rl import loop
from rl.checkpoints.folder import FolderCheckpoints
from rl.checkpoints.ratings import Ratings
from rl.config import Config, RolloutConfig, SourceConfig, TrackingConfig
from rl.config.health import HealthConfig
from rl.data.stream import PromptStream
from rl.errors import LearnerLostError
from rl.health.tracker import HealthTracker
from rl.health.watch import Watch
from rl.loop import Parts, train
from rl.protocols import Learner
from rl.seeds import derive_seed
from rl.stop import Stop
from rl.tracking.metrics_file import read_metrics
from rl.tracking.trackers import JsonlTracker
from rl.types import Group, Prompt, StepReport, TrainBatch, WeightRef
from tests.rl.examples import score, text_group

TIMES = ("timing_s/", "perf/")
ROWS = [text_group(str(index)).prompt for index in range(7)]
HELD_OUT = [text_group(f"val{index}").prompt for index in range(3)]
SHAPES: dict[str, dict[str, Any]] = {
    "both every other step": {"save_freq": 2, "test_freq": 2, "steps": 4},
    "evaluated more often": {"save_freq": 2, "test_freq": 1, "val_before_train": True},
    "saved at the end": {"save_freq": 0, "test_freq": 2, "val_after_train": True},
    "each step": {"save_freq": 1, "test_freq": 1, "val_after_train": True},
}
# Calls that leave something: between two of them all kills are alike.
KEPT = ("log", "samples", "rollouts", "save", "add")


class KilledError(BaseException):
    """No ``except Exception`` on the way keeps it, and the test's trackers do nothing at the end."""


class Places:
    """Counts the calls of a run, and does something at one of them."""

    def __init__(self, at: int = -1, act: Callable[[str], None] = lambda name: None) -> None:
        self.names: list[str] = []
        self._at, self._act = at, act

    def reach(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) - 1 == self._at:
            self._act(name)


class Watched:
    """Something of which each call is a place."""

    def __init__(self, inner: Any, places: Places) -> None:
        self._inner, self._places = inner, places

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            self._places.reach(name)
            return found(*args, **options)

        return call


def watched(inner: Any, places: Places) -> Any:
    """Of the type of what it stands for."""
    return Watched(inner, places)


class Number:
    """A learner whose weights are one number, a function of every batch so far."""

    def __init__(self) -> None:
        self.value = 1

    def update(self, batch: TrainBatch) -> StepReport:
        heard = f"{batch.advantages.tolist()} {batch.mask_draws}"
        self.value = derive_seed(self.value, heard) % 1_000_003
        return StepReport({"actor/loss": self.value / 1e6, "actor/grad_norm": 1.0})

    def weights(self) -> Mapping[str, np.ndarray]:
        return {"number": np.array([self.value], np.float32)}

    def save(self, folder: Path) -> None:
        (folder / "number").write_text(str(self.value))

    def load(self, folder: Path) -> None:
        self.value = int((folder / "number").read_text())

    def close(self) -> None: ...


class Dice:
    """Workers whose scores are a function of the weights, the prompt and the seed."""

    def __init__(self, learner: Number) -> None:
        self._learner = learner

    def update_weights(self, learner: Learner, version: int) -> WeightRef:
        return WeightRef(version, str(self._learner.value))

    def rollout_and_score(
        self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False
    ) -> list[Group]:
        return [self._group(prompt, weights, seed, 2 if evaluate else 4) for prompt in prompts]

    def _group(self, prompt: Prompt, weights: WeightRef, seed: int, size: int) -> Group:
        values = [derive_seed(seed, weights.digest, prompt.id, index) % 7 / 7 for index in range(size)]
        name = prompt.id.partition("/")[2]
        return text_group(name, *(score(value, luck=value) for value in values), text=f"{values} at {weights.digest}")

    def timings(self) -> Mapping[str, float]:
        return {"timing_s/gen": 0.1}

    def close(self) -> None: ...


class Shown:
    """The run folder's tracker; and what was handed to one that looks at single rollouts, over all processes."""

    def __init__(self, config: Config, seen: dict[tuple[int, str], str]) -> None:
        going_on = any((config.run_dir / "checkpoints").glob("global_step_*/manifest.json"))
        self._file, self._seen = JsonlTracker(config.run_dir, keep_until=math.inf if going_on else -1), seen
        if not going_on:
            seen.clear()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._file.log(step, metrics)

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        self._file.samples(step, groups, name)

    def rollouts(self, step: int, groups: Sequence[Group]) -> None:
        self._seen |= {(step, group.prompt.id): group.rollouts[0].text for group in groups}

    def phase(self, text: str) -> None: ...

    def tag(self, name: str, value: str) -> None: ...

    def close(self, status: str) -> None: ...


def settings(folder: Path, **changes: Any) -> Config:
    values = {
        "name": "run", "output_dir": str(folder), "steps": 3, "keep_checkpoints": 1, "best_metric": "val/text/score",
        "val_before_train": False, "val_after_train": False,
        "rollout": RolloutConfig(batch_size=2, n_samples_per_prompt=4),
        "tracking": TrackingConfig(mlflow=False, samples_freq=2), **changes,
    }  # fmt: skip
    return Config(**values)


def process(
    config: Config,
    seen: dict[tuple[int, str], str],
    places: Places,
    stop: Stop | None = None,
    learner: Number | None = None,
) -> int:
    """One process of the run; the final weights."""
    learner = learner or Number()
    saved, shown = FolderCheckpoints(config), Shown(config, seen)
    watch = Watch.of(HealthConfig(), read_metrics(config.run_dir))
    saved.ratings = watched(saved.ratings, places)
    stream = PromptStream([SourceConfig("sums")], config.seed, [ROWS])
    parts: list[Any] = [Dice(learner), learner, HealthTracker(watched(shown, places), watch, print), saved]
    workers, learns, tracker, checkpoints = (watched(part, places) for part in parts)
    train(Parts(config, stream, HELD_OUT, workers, learns, tracker, checkpoints), stop)
    return learner.value


def left(config: Config, seen: Mapping[tuple[int, str], str]) -> dict[str, Any]:
    """All that a run left but how long things took."""
    points = {
        point.step: {name: value for name, value in point.metrics.items() if not name.startswith(TIMES)}
        for point in read_metrics(config.run_dir)
    }
    files = {
        str(path.relative_to(config.run_dir)): path.read_text("utf-8")
        for path in (config.run_dir / "samples").rglob("*.jsonl")
    }
    folder = config.run_dir / "checkpoints"
    return {
        "points": {step: numbers for step, numbers in points.items() if numbers},
        "samples": files,
        "rollouts": dict(seen),
        "ratings": Ratings(folder).read(),
        "checkpoints": sorted(path.name for path in folder.glob("global_step_*")),
        "best": FolderCheckpoints(config).best(),
    }


def unbroken(folder: Path, shape: str) -> tuple[int, dict[str, Any], list[str]]:
    """The final weights of a run that nothing befalls, what it leaves, and its places."""
    config, seen, places = settings(folder, **SHAPES[shape]), {}, Places()
    value = process(config, seen, places)
    return value, left(config, seen), places.names


def kill(name: str) -> None:
    raise KilledError(name)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "HEAD_START_S", 0.0)
    monkeypatch.setattr("os.fsync", lambda file: None)  # the machine does not lose its power


@pytest.mark.parametrize("shape", SHAPES)
def test_killed_at_each_place(tmp_path: Path, shape: str) -> None:
    value, expected, names = unbroken(tmp_path / "whole", shape)
    assert {"rollout_and_score", "update", "log", "samples", "rollouts", "save", "rate", "add"} <= set(names)
    for at, name in ((at, name) for at, name in enumerate(names) if name in KEPT):
        config, seen = settings(tmp_path / str(at), **SHAPES[shape]), {}
        with pytest.raises(KilledError):
            process(config, seen, Places(at, kill))
        assert process(config, seen, Places()) == value
        assert left(config, seen) == expected, f"killed at place {at}: {name}"


@pytest.mark.parametrize("shape", ["evaluated more often", "saved at the end"])
def test_told_to_stop_at_each_place(tmp_path: Path, shape: str) -> None:
    """What SIGTERM does: it ends what may be abandoned, and nothing else."""
    value, expected, names = unbroken(tmp_path / "whole", shape)
    ended, places = 0, [(at, name) for at, name in enumerate(names) if name in (*KEPT, "rollout_and_score", "update")]
    for at, name in places:
        config, seen, stop = settings(tmp_path / str(at), **SHAPES[shape]), {}, Stop()
        try:
            process(config, seen, Places(at, lambda name, stop=stop: stop.request()), stop)
        except KeyboardInterrupt:
            ended += 1
            assert process(config, seen, Places()) == value
        found = left(config, seen)
        for key in ("checkpoints", "best"):  # one more was saved on the way, and may be the best
            found[key] = expected[key]
        assert found == expected, f"stopped at place {at}: {name}"
    assert ended > len(places) / 2


@pytest.mark.parametrize("shape", ["both every other step", "evaluated more often"])
def test_a_learner_that_is_lost_at_each_place_of_its_own(tmp_path: Path, shape: str) -> None:
    def lose(name: str) -> None:
        learner.value = Number().value  # its next call starts a new one
        raise LearnerLostError(name)

    value, expected, names = unbroken(tmp_path / "whole", shape)
    places = [at for at, name in enumerate(names) if name in ("update", "update_weights")][1:]
    for at in places:
        config, seen, learner = settings(tmp_path / str(at), **SHAPES[shape]), {}, Number()
        assert process(config, seen, Places(at, lose), learner=learner) == value
        assert left(config, seen) == expected, f"lost at place {at}"


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Each process gets as far as so many calls: a step and its evaluation take some 30."""
    shape = "each step"
    value, expected, names = unbroken(tmp_path / "whole", shape)
    for patience in (37, 60):
        config, seen, lives = settings(tmp_path / str(patience), **SHAPES[shape]), {}, 0
        while True:
            lives += 1
            assert lives <= len(names)
            try:
                found = process(config, seen, Places(patience, kill))
                break
            except KilledError:
                continue
        assert lives > 1 and found == value and left(config, seen) == expected


def test_an_evaluation_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    config, seen, again = settings(tmp_path, **SHAPES["both every other step"]), {}, Places()
    process(config, seen, Places())
    process(config, seen, again)
    assert "rollout_and_score" not in again.names
    (config.run_dir / "checkpoints" / "ratings.json").write_text("{")  # damaged: nothing is known of it
    process(config, seen, again)
    assert again.names.count("rollout_and_score") == 1

"""What the loop knows of the rest of the system. One process or a thousand workers: the loop cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rl.types import Group, Prompt, StepReport, TrainBatch, WeightRef


class Restorable(Protocol):
    """What a checkpoint holds."""

    def save(self, folder: Path) -> None:
        """Write weights and optimizer state into an existing folder."""
        ...

    def load(self, folder: Path) -> None:
        """Restore what ``save`` wrote."""
        ...


class Learner(Restorable, Protocol):
    """Owns the weights being trained."""

    def update(self, batch: TrainBatch) -> StepReport:
        """mu inner updates on one batch."""
        ...

    def weights(self) -> Mapping[str, np.ndarray]:
        """The current weights as float32 arrays on the host, by parameter name."""
        ...

    def close(self) -> None: ...


class Workers(Protocol):
    """Samples and scores."""

    def update_weights(self, learner: Learner, version: int) -> WeightRef:
        """Hand the learner's weights to every rollout worker as this version; they serve no other from now on."""
        ...

    def rollout_and_score(
        self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False
    ) -> list[Group]:
        """One group a prompt, in the order of the prompts. Scoring starts as each group's rollouts finish.

        ``evaluate`` uses the sampling, group size and rewards of held-out evaluation.
        """
        ...

    def timings(self) -> Mapping[str, float]:
        """Seconds and counts of the last ``rollout_and_score``, by metric name."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class RunsAhead(Workers, Protocol):
    """Workers that sample while the learner learns."""

    def begin(self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False) -> int:
        """Start on a batch, at the newest weights or earlier ones that a batch in hand still needs; its number.

        ``evaluate`` as in ``rollout_and_score``.
        """
        ...

    def finish(self, number: int) -> list[Group]:
        """The groups of a batch that was begun; ``timings`` are of it."""
        ...

    def cancel(self) -> None:
        """Forget every batch that was begun."""
        ...


class Prompts(Protocol):
    """An endless, resumable stream of training prompts. ``rl.data.stream.PromptStream`` is the one of a run."""

    def next(self, count: int, /) -> list[Prompt]:
        """The next ``count`` prompts."""
        ...

    def state(self) -> dict[str, Any]:
        """Where the stream is, as plain JSON."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        ...


class Tracker(Protocol):
    """Where a run's numbers, tables and pictures go. It never raises into the loop and never blocks it."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        """Texts as a table, drawings as images. The loop calls it as ``train`` and ``val``."""
        ...

    def rollouts(self, step: int, groups: Sequence[Group]) -> None:
        """All groups of a training step, at every step: what looks at single rollouts picks its own from them."""
        ...

    def phase(self, text: str) -> None:
        """What the run does now, for the person in front of it. Example: ``evaluating before training``."""
        ...

    def tag(self, name: str, value: str) -> None:
        """A word about the run as a whole, which a later one of this name replaces. Example: ``health``, ``sick: kl``."""
        ...

    def close(self, status: str) -> None: ...


class Checkpoints(Protocol):
    """Saves and finds whole checkpoints."""

    def resume(self, learner: Restorable) -> Mapping[str, Any]:
        """Load the newest whole checkpoint; its state, or an empty mapping where there is none."""
        ...

    def go_back(self, learner: Restorable) -> Mapping[str, Any]:
        """Load what this run saved last, or what it began with, into a learner that was lost; its state as above."""
        ...

    def save(self, step: int, learner: Restorable, state: Mapping[str, Any]) -> Path:
        """Raises CheckpointError where it could not be written; nothing is left of it then."""
        ...

    def rate(self, step: int, metrics: Mapping[str, float]) -> None:
        """Held-out metrics of the weights after ``step``: the best checkpoints are kept by them."""
        ...

    def rated(self, step: int) -> bool:
        """Whether the weights after ``step`` were evaluated, also by an earlier process of this run."""
        ...

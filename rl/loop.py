"""The training loop, as one screen: prompts -> rollouts -> scores -> advantages -> masked log-probs -> loss -> weights.

It knows Protocols only, so it is the same in one process and over a cluster. Steps are counted by how many are done:
what step 1 learned is logged at 1, held-out scores from before training at 0, and ``global_step_40`` is the state
after 40 steps.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, cast

from rl.ahead import RolloutAhead
from rl.checkpoints.save_timer import SaveTimer
from rl.config import Config
from rl.errors import CheckpointError, LearnerLostError
from rl.evaluation import evaluate, evaluation_seed
from rl.prepare import canvases, prepare, reward_metrics
from rl.protocols import Checkpoints, Learner, Prompts, RunsAhead, Tracker, Workers
from rl.rollouts import GroupSource, StepByStep
from rl.stop import Stop, StopRequested
from rl.tracking.clock import Clock, orchestration, throughput
from rl.tracking.failures import FailureNotes, require_scores
from rl.tracking.trackers import tracked
from rl.types import Group, Prompt, WeightRef

logger = logging.getLogger(__name__)

HEAD_START_S = 0.01
BEFORE = "before training"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """before, after: held-out metrics (see ``rl.evaluation.summarise``), empty where they were not asked for.

    weights names the final weights; steps counts all that are done, and seconds only what this process took.
    """

    steps: int
    weights: WeightRef
    before: Mapping[str, float]
    after: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run is. ``before`` travels along, since a resumed run does not measure it again."""

    step: int = 0
    weight_version: int = 0
    before: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is put together from."""

    config: Config
    stream: Prompts
    val_prompts: Sequence[Prompt]
    workers: Workers
    learner: Learner
    tracker: Tracker
    checkpoints: Checkpoints


def train(parts: Parts, stop: Stop | None = None, now: Callable[[], float] = time.monotonic) -> TrainResult:
    """Train until ``config.steps`` are done, from the newest checkpoint where there is one.

    A learner that is lost is put back to the last checkpoint, and the steps since then are done again. A ``stop`` that is
    requested ends the run with a checkpoint of the last whole step. now: seconds, for ``save_minutes``.

    The tracker is closed in any case, as FINISHED, FAILED or KILLED. Raises UniGRPOError where a run cannot go on, and
    TrainingError where there is nothing to learn from (``rl.tracking.failures``) or no step changed the weights.
    """
    config, stream, workers = parts.config, parts.stream, parts.workers
    source: GroupSource = StepByStep(workers, stream, config)
    if config.max_staleness:
        source = RolloutAhead(cast(RunsAhead, workers), stream, config)
    with tracked(parts.tracker), ThreadPoolExecutor(1, "numbers") as aside:
        try:
            return _Run(
                *(config, stream, parts.val_prompts, workers, parts.learner, parts.tracker, parts.checkpoints),
                stop=stop or Stop(),
                source=source,
                first_prompts=stream.state(),
                aside=aside,
                timer=SaveTimer(config.save_minutes, now),
            ).train()
        except StopRequested:
            raise KeyboardInterrupt from None


def _in_a_moment(groups: Sequence[Group], canvas: Mapping[str, int]) -> dict[str, float]:
    """Numbers about the groups. Delayed by 10 ms, so that serialising the batch for the learner does not contend for the GIL."""
    time.sleep(HEAD_START_S)
    return reward_metrics(groups, canvas)


@dataclass(frozen=True, slots=True)
class _Run(Parts):
    stop: Stop
    source: GroupSource
    first_prompts: Mapping[str, Any]
    aside: Executor
    timer: SaveTimer
    failures: FailureNotes = field(default_factory=FailureNotes)

    def train(self) -> TrainResult:
        began = time.perf_counter()
        at = self._position(self.checkpoints.resume(self.learner))
        weights = self.workers.update_weights(self.learner, at.weight_version)
        fresh = at.step == 0
        if at.before is None:
            before = self._validate(at.step, weights, BEFORE) if self.config.val_before_train else {}
            at = replace(at, before=before)
        lost: LearnerLostError | None = None
        while True:
            try:
                if lost is not None:
                    weights, at, lost = *self._go_back(lost, at), None
                self._evaluate_on_the_way(at.step, weights)
                if at.step >= self.config.steps:
                    break
                weights, at = self._step(weights, at)
            except LearnerLostError as error:
                lost = error
            except StopRequested:
                self._save(at)
                raise
        if fresh:
            self.failures.require_update()
        after = self._validate(at.step, weights, "after training") if self.config.val_after_train else {}
        return TrainResult(at.step, weights, at.before or {}, after, time.perf_counter() - began)

    def _step(self, weights: WeightRef, at: Position) -> tuple[WeightRef, Position]:
        """The flow. What it shows is shown before it is saved: a run that goes on from here has no rollouts of it."""
        clock = Clock()
        self.tracker.phase("training")
        with self.stop.may_abandon():
            sampled = self.source.take(weights, at.step)
        groups = sampled.groups
        self.failures.tell(groups)
        batch = prepare(sampled.chosen, self.config, at.step, weight_version=weights.version)
        rewarded = self.aside.submit(
            _in_a_moment, groups, canvases(self.config)
        )  # the learner is waited for in any case
        report = self.learner.update(batch)
        self.failures.count_update(report.updated)
        with clock("timing_s/update_weights"):
            weights = self.workers.update_weights(self.learner, weights.version + 1)
        at = replace(at, step=at.step + 1, weight_version=weights.version)
        metrics = {**rewarded.result(), **report.metrics, **sampled.timings, **clock.stop()}
        self.tracker.log(at.step, {**metrics, **throughput(groups, metrics), **orchestration(metrics)})
        self._show(at.step, groups)
        self._maybe_save(at)
        return weights, at

    def _go_back(self, lost: LearnerLostError, at: Position) -> tuple[WeightRef, Position]:
        """To the last checkpoint, with a new learner; what was learned since then is learned again, bit for bit."""
        self.source.drop()
        back = replace(self._position(self.checkpoints.go_back(self.learner)), before=at.before)
        logger.warning("%s; a new learner goes on from step %d (it was at %d)", lost, back.step, at.step)
        return self.workers.update_weights(self.learner, back.weight_version), back

    def _position(self, state: Mapping[str, Any]) -> Position:
        """Where a checkpoint's state is, with the stream put there; the start, where there is no checkpoint."""
        self.stream.restore(state["data"] if state else self.first_prompts)
        return Position(state["step"], state["weight_version"], state["before"]) if state else Position()

    def _maybe_save(self, at: Position) -> None:
        """Every ``save_freq`` steps, every ``save_minutes``, and the last. Where the disk is full, training goes on; the last
        one must succeed."""
        due = self.timer.due() or (self.config.save_freq and at.step % self.config.save_freq == 0)
        if not due and at.step < self.config.steps:
            return
        try:
            self._save(at)
        except CheckpointError as error:
            if at.step >= self.config.steps:
                raise
            logger.warning("%s; training goes on, and saves again when it is due", error)

    def _save(self, at: Position) -> None:
        clock = Clock()
        self.tracker.phase("saving")
        state = {"data": self.source.position(), "weight_version": at.weight_version, "before": dict(at.before or {})}
        try:
            with clock("timing_s/save_checkpoint"):
                self.checkpoints.save(at.step, self.learner, state)
        finally:
            self.timer.restart()
        self.tracker.log(at.step, clock.seconds)

    def _show(self, step: int, groups: Sequence[Group]) -> None:
        """Rollouts of training."""
        self.tracker.rollouts(step, groups)
        if step % self.config.tracking.samples_freq == 0 or step == self.config.steps:
            self.tracker.samples(step, groups, "train")

    def _evaluate_on_the_way(self, step: int, weights: WeightRef) -> None:
        """Held-out scores every ``test_freq`` steps. A run that goes on from this step has those already, or they were cut off
        and are made now; at the last step ``val_after_train`` may give them."""
        due = self.config.test_freq > 0 and step > 0 and step % self.config.test_freq == 0
        evaluated_later = step >= self.config.steps and self.config.val_after_train
        if due and not evaluated_later and not self.checkpoints.rated(step):
            self._validate(step, weights, f"at step {step}")

    def _validate(self, step: int, weights: WeightRef, when: str) -> Mapping[str, float]:
        """Always under the same noise, so that two evaluations differ by the weights alone. Rated last: by then all is there."""
        if not self.val_prompts:
            return {}
        self.tracker.phase(f"evaluating {when}")
        with self.stop.may_abandon():
            evaluation = evaluate(self.workers, self.val_prompts, weights, evaluation_seed(self.config.seed))
        self.tracker.log(step, evaluation.metrics)
        self.tracker.samples(step, evaluation.groups, "val")
        self.checkpoints.rate(step, evaluation.metrics)
        if when == BEFORE:
            require_scores(evaluation.groups, f"the evaluation {when}")
        return evaluation.metrics

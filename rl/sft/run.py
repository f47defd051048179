"""A whole fine-tuning run: steps, checkpoints to go on from, and evaluations on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from policies.base import Policy
from policies.network.packed_sequences import pack_sequences
from rl.checkpoints.save_timer import SaveTimer
from rl.config import Config
from rl.errors import CheckpointError
from rl.learner.engine import Engine
from rl.learner.trained import trained
from rl.protocols import Checkpoints, Prompts
from rl.sft.examples import ExampleMaker
from rl.sft.steps import train_steps
from rl.stop import Stop, StopRequested

logger = logging.getLogger(__name__)

Evaluate = Callable[[int], Mapping[str, float]]  # steps done -> held-out metrics


class FineTuner:
    """What checkpoints hold of a fine-tuning run: ``rl.protocols.Restorable``."""

    def __init__(self, policy: Policy, engine: Engine) -> None:
        self._parts = trained(policy), engine

    def save(self, folder: Path) -> None:
        for part in self._parts:
            part.save(folder)

    def load(self, folder: Path) -> None:
        for part in self._parts:
            part.load(folder)


class SftRun:
    """``resume`` first, which says where the run is; then ``run``."""

    def __init__(
        self, policy: Policy, engine: Engine, stream: Prompts, config: Config, checkpoints: Checkpoints
    ) -> None:
        self.policy, self.engine, self.stream, self.config = policy, engine, stream, config
        self.checkpoints, self.maker = checkpoints, ExampleMaker(policy, config)
        self.tuner = FineTuner(policy, engine)
        self.step = 0
        if config.sft.packing:
            pack_sequences(policy.module)

    def resume(self) -> Mapping[str, float] | None:
        """Held-out scores from before training where an earlier process measured them; None for a fresh start."""
        state = self.checkpoints.resume(self.tuner)
        if not state:
            return None
        self.stream.restore(state["data"])
        self.maker.restore(state["pictures"])
        self.step = state["step"]
        return state["before"]

    def run(
        self,
        log: Callable[[int, Mapping[str, float]], None],
        before: Mapping[str, float],
        evaluate: Evaluate | None = None,
        stop: Stop | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """The steps that are left, each logged. A checkpoint every ``save_freq`` steps and every ``save_minutes``;
        ``evaluate(steps done)`` every ``test_freq``, but not after the last, which is the caller's. One that an earlier process
        was cut off in is made first.

        stop: once it is requested, an evaluation is abandoned, a step is finished and saved. Raises KeyboardInterrupt then.
        """
        config, last = self.config, self.config.sft.steps
        stop, timer, saved = stop or Stop(), SaveTimer(config.save_minutes, now), self.step > 0
        self._evaluate_on_the_way(evaluate, before, stop)
        self.policy.module.train()
        steps = range(self.step, last)
        for step, metrics in train_steps(self.policy, self.engine, self.stream, config, steps, self.maker):
            log(step, metrics)
            self.step = step + 1
            due = bool(config.save_freq) and self.step % config.save_freq == 0
            ended = self.step == last and (saved or config.save_freq)  # or the same command would do the rest again
            if due or ended or timer.due() or stop.requested:
                saved = self._save_if_there_is_room(before, must=stop.requested or self.step == last) or saved
                timer.restart()
            if stop.requested:
                raise KeyboardInterrupt
            self._evaluate_on_the_way(evaluate, before, stop)
        self.policy.module.eval()

    def _evaluate_on_the_way(self, evaluate: Evaluate | None, before: Mapping[str, float], stop: Stop) -> None:
        freq, last = self.config.test_freq, self.config.sft.steps
        if evaluate is None or not freq or self.step % freq or not 0 < self.step < last:
            return
        if self.checkpoints.rated(self.step):
            return
        self.policy.module.eval()
        try:
            with stop.may_abandon():
                self.checkpoints.rate(self.step, evaluate(self.step))
        except StopRequested:
            self._save(before)
            raise KeyboardInterrupt from None
        self.policy.module.train()

    def _save_if_there_is_room(self, before: Mapping[str, float], must: bool) -> bool:
        """Whether it was saved. Where the disk is full, training goes on; raises CheckpointError where it ``must`` be."""
        try:
            self._save(before)
        except CheckpointError as error:
            if must:
                raise
            logger.warning("%s; training goes on, and saves again when it is due", error)
            return False
        return True

    def _save(self, before: Mapping[str, float]) -> None:
        state = {
            "data": self.stream.state(), "pictures": self.maker.state(), "weight_version": 0, "before": dict(before),
        }  # fmt: skip
        self.checkpoints.save(self.step, self.tuner, state)

"""One step's groups; with dynamic sampling, as many batches of prompts as it takes to have something to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rl.advantages import scores_differ
from rl.config import Config
from rl.hints.again import in_shares, with_hints
from rl.prepare import check_failures
from rl.protocols import Prompts, RunsAhead, Workers
from rl.seeds import derive_seed
from rl.types import Group, WeightRef


class GroupSource(Protocol):
    """Where the loop gets a step's groups: one step after the other, or ahead (``rl.ahead``)."""

    def take(self, weights: WeightRef, step: int) -> Sampled:
        """step: how many are done. weights: those that the step is about to train."""
        ...

    def position(self) -> dict[str, Any]:
        """The stream's state from which the next step that is not taken yet would be sampled."""
        ...

    def drop(self) -> None:
        """Forget what is in hand."""
        ...


@dataclass(frozen=True, slots=True)
class Sampled:
    """groups: all that were sampled; chosen: those to learn from; timings: sums over the batches of prompts."""

    groups: Sequence[Group]
    chosen: Sequence[Group]
    timings: Mapping[str, float]


class StepByStep:
    """Implements ``GroupSource``, strictly on-policy."""

    def __init__(self, workers: Workers, stream: Prompts, config: Config) -> None:
        self._workers, self._stream, self._config = workers, stream, config
        self._before: dict[str, Any] | None = None

    def take(self, weights: WeightRef, step: int) -> Sampled:
        self._before = self._stream.state()
        sampled = sample_groups(self._workers, self._stream, weights, self._config, step)
        self._before = None
        return sampled

    def position(self) -> dict[str, Any]:
        return self._stream.state() if self._before is None else self._before

    def drop(self) -> None:
        self._before = None
        if isinstance(self._workers, RunsAhead):
            self._workers.cancel()


def sample_groups(workers: Workers, stream: Prompts, weights: WeightRef, config: Config, step: int) -> Sampled:
    """Sample and score a batch of prompts.

    Where ``rollout.max_gen_batches`` is above 1, groups whose scores are all equal or failed are set aside, and more
    prompts are asked for until ``rollout.batch_size`` groups are left or so many batches are done (DAPO, arXiv
    2503.14476, section 3.2). What is found beyond that number is not trained on. With ``rollout.hints``, groups that are all
    wrong are sampled again in part first (``rl.hints``).

    Raises RewardError where more scores failed than ``rewards.on_failure`` lets pass.
    """
    size, limit = config.rollout.batch_size, config.rollout.max_gen_batches
    groups: list[Group] = []
    timings: dict[str, float] = {}
    chosen: list[Group] = []
    for batch in range(limit):
        seed = derive_seed(config.seed, "rollout", step, *([batch] if batch else []))
        sampled = workers.rollout_and_score(stream.next(size), weights, seed)
        check_failures([*groups, *sampled], config.rewards.on_failure)
        _add(timings, workers.timings())
        if config.rollout.hints.share:
            hinted = with_hints(sampled, workers, weights, config, step, batch)
            sampled = hinted.groups
            _add(timings, hinted.timings)
        groups += sampled
        if limit == 1:
            return Sampled(groups, groups, in_shares(timings))
        chosen = [group for group in groups if group.usable and scores_differ(group)]
        timings["rollout/gen_batches"] = batch + 1.0
        if len(chosen) >= size:
            break
    return Sampled(groups, chosen[:size], in_shares(timings))


def _add(timings: dict[str, float], more: Mapping[str, float]) -> None:
    for name, value in more.items():
        timings[name] = timings.get(name, 0.0) + value

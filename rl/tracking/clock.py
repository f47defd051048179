"""Where a step's seconds went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rl.types import Group


class Clock:
    """``with clock("timing_s/ref"): ...`` keeps the block's seconds; ``stop`` adds ``timing_s/step``, since it was made.

    settle: called before each reading, to wait for work that a GPU still owes
    """

    def __init__(self, settle: Callable[[], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._settle = settle
        self._began = self._now()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = self._now()
        yield
        self.seconds[name] = self._now() - start

    def stop(self) -> dict[str, float]:
        return {**self.seconds, "timing_s/step": self._now() - self._began}

    def _now(self) -> float:
        if self._settle is not None:
            self._settle()
        return time.perf_counter()


def throughput(groups: Sequence[Group], timings: Mapping[str, float]) -> dict[str, float]:
    """Per second of the whole step: response tokens (an image counts with its codes), and images."""
    seconds = timings["timing_s/step"]
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    tokens = sum(int(rollout.response_mask.sum()) for rollout in rollouts)
    images = sum(rollout.image is not None for rollout in rollouts)
    return {"perf/throughput": tokens / seconds, "perf/images_per_s": images / seconds}


def orchestration(timings: Mapping[str, float]) -> dict[str, float]:
    """Seconds of a step that are not on its longest chain of sampling, scoring and learning, and their share of the step.

    Only where workers tell their chain, and one step follows the other: with rollouts ahead, chains overlap.
    """
    chain = timings.get("timing_s/workers_chain")
    if chain is None or timings.get("staleness/max", 0.0) > 0:
        return {}
    seconds = max(0.0, timings["timing_s/step"] - chain - timings.get("timing_s/learner", 0.0))
    return {"perf/orchestration_s": seconds, "perf/orchestration_share": seconds / timings["timing_s/step"]}

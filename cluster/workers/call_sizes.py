"""How many groups a worker gets in one call: as many as take a moment together, and fewer towards the end of a batch.

Between two calls a worker, the driver and Ray spend some milliseconds. That is nothing beside a group of an 8B policy, which
is a call of its own, and was a tenth of a step of the tiny one.
"""

from __future__ import annotations

from collections.abc import Sequence

from rl.types import Prompt, Task

SAMPLING_S = 0.2  # a call of several groups: reward workers wait for the first of them as long
SCORING_S = 0.05
SHARES = 2  # a worker gets at most this part of what each has still to do, so that all end together
WEIGHT = 0.5  # of the newest measurement


class CallSizes:
    """Knows what a group of each task took. One that was never measured is a call of its own, and so is a longer one.

    longest_s: of a call with more than one group.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._seconds: dict[tuple[Task, bool], float] = {}

    def measured(self, prompt: Prompt, evaluate: bool, seconds: float) -> None:
        key = (prompt.task, evaluate)
        self._seconds[key] = (1 - WEIGHT) * self._seconds.get(key, seconds) + WEIGHT * seconds

    def expected(self, prompt: Prompt, evaluate: bool) -> float:
        """Seconds; 0 where nothing was measured."""
        return self._seconds.get((prompt.task, evaluate), 0.0)

    def calls(self, prompts: Sequence[Prompt], evaluate: bool, workers: int | None = None) -> list[tuple[int, ...]]:
        """Places of the prompts of each call: each once, in their order. workers: who will share them, to be even."""
        expected = [self._seconds.get((prompt.task, evaluate), self._longest_s) for prompt in prompts]
        left, calls, at = sum(expected), list[tuple[int, ...]](), 0
        while at < len(prompts):
            room = self._longest_s if workers is None else min(self._longest_s, left / (SHARES * workers))
            stop, seconds = at + 1, expected[at]
            while stop < len(prompts) and seconds + expected[stop] <= room:
                seconds += expected[stop]
                stop += 1
            calls.append(tuple(range(at, stop)))
            left -= seconds
            at = stop
        return calls


def slowest_first(prompts: Sequence[Prompt], evaluate: bool, *after: CallSizes) -> list[int]:
    """An order in which to sample: first what takes longest after that, so that it is done while others are sampled.

    after: what knows the seconds of each part of it. Among equals the order stays.
    """
    seconds = [sum(sizes.expected(prompt, evaluate) for sizes in after) for prompt in prompts]
    return sorted(range(len(prompts)), key=lambda index: -seconds[index])

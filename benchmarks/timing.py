"""CPU-seconds of this process, so that a busy machine does not count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch


def seconds(side: Callable[[], object]) -> float:
    begin = time.process_time()
    side()
    return round(time.process_time() - begin, 4)


def turns(sides: Sequence[Callable[[int], object]], repeats: int) -> list[tuple[float, ...]]:
    """Seconds of each side, each given the number of its turn: neighbours in time, so that they can be compared."""
    return [tuple(seconds(partial(side, turn)) for side in sides) for turn in range(1, repeats + 1)]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread, as one rollout worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def wall_rate(work: Callable[[], object], seconds: float) -> float:
    """Calls a second by the clock, at the fastest of several turns: what the machine can do, not what it was busy with."""
    work()
    best, ends = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < ends or best == float("inf"):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return 1 / best

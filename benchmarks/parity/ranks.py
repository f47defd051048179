"""Ranks as forked processes of this one: torch is imported once, and a rank that fails or waits ends all of them."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable


def fork_ranks(ranks: int, work: Callable[[int], None], deadline_s: float) -> None:
    """``work(rank)`` in a process for each rank. Raises RuntimeError where one fails, or is not done in time."""
    sys.stdout.flush()
    children: dict[int, int] = {}
    for rank in range(ranks):
        child = os.fork()
        if not child:
            _run(work, rank)
        children[child] = rank
    _wait(children, ranks, time.monotonic() + deadline_s)


def _run(work: Callable[[int], None], rank: int) -> None:
    """Never returns: the parent's code is not the child's to go on with."""
    code = 1
    try:
        work(rank)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(children: dict[int, int], ranks: int, ends: float) -> None:
    problem = ""
    while children and not problem:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child in children:
            rank = children.pop(child)
            problem = f"rank {rank} of {ranks} failed" if status else ""
        elif time.monotonic() > ends:
            problem = f"{len(children)} of {ranks} ranks were not done in time"
        time.sleep(0.02)
    for child in children:  # they may wait for the one that is gone
        os.kill(child, 9)
        os.waitpid(child, 0)
    if problem:
        raise RuntimeError(problem)

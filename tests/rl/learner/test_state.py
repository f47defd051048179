"""A learner's files, where its ranks cannot all write them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from rl.errors import CheckpointError
from rl.learner.engine import TorchEngine
from rl.learner.state import STATE_FILE
from rl.learner.update import UniGRPOLearner
from tests.rl.learner.test_update import SETTINGS
from tests.toys import toy_policy

DEADLINE_S = 20.0


class Gathering(TorchEngine):
    """One of two ranks, each a thread: its sums and its saving wait for the other one, as collectives do."""

    world_size = 2

    def __init__(self, rank: int, meet: Barrier, sent: list[float]) -> None:
        self.policy = toy_policy()
        super().__init__(self.policy.module, SETTINGS, 100)
        self.rank, self._meet, self._sent = rank, meet, sent

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        self._meet.wait(DEADLINE_S)
        self._sent.extend(values)
        self._meet.wait(DEADLINE_S)
        return [sum(self._sent)]

    def save(self, folder: Path) -> None:
        self._meet.wait(DEADLINE_S)
        if self.rank == 0:
            super().save(folder)


def save_on_both(folder: Path) -> list[BaseException | None]:
    """What each of the two ranks raised."""
    meet, sent = Barrier(2), list[float]()
    engines = [Gathering(rank, meet, sent) for rank in range(2)]
    learners = [UniGRPOLearner(engine.policy, engine, SETTINGS) for engine in engines]
    with ThreadPoolExecutor(2) as threads:
        return [call.exception() for call in [threads.submit(learner.save, folder) for learner in learners]]


@pytest.mark.parametrize("where", ["policy", "reference.json", STATE_FILE])
def test_no_rank_waits_for_one_that_cannot_write(tmp_path: Path, where: str) -> None:
    (tmp_path / where).touch() if where == "policy" else (tmp_path / where).mkdir()
    first, second = save_on_both(tmp_path)
    assert isinstance(first, CheckpointError) and first.__cause__ is not None
    assert second is None
    assert not (tmp_path / "optimizer.json").exists()


def test_two_ranks_save_together(tmp_path: Path) -> None:
    assert save_on_both(tmp_path) == [None, None]
    assert (tmp_path / "optimizer.json").is_file()

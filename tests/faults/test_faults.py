"""The shorter form of ``make faults``: accidents in the middle of a run, and the same bits at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.faults import FREEZE, KILL
from cluster.session import ray_running
from tests.faults.runs import Outcome, fault_config, plan_of, run

STEPS = "steps=3"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def ray_here(home: Path) -> Iterator[None]:
    with ray_running(fault_config(home, "ray", "cluster.rollout_workers=3", "cluster.learner_ranks=2")):
        yield


@pytest.fixture(scope="module")
def undisturbed(home: Path) -> Outcome:
    return run(fault_config(home, "undisturbed", STEPS, "learner.engine=torch", "cluster.mode=inline"))


@pytest.mark.usefixtures("ray_here")
def test_workers_and_the_learner_are_killed_and_stopped(home: Path, undisturbed: Outcome) -> None:
    """One run, four accidents. It saves after each step; at the third the learner goes back one."""
    plan = plan_of(
        (1, "rollout worker 0", KILL),
        (2, "reward worker 0", KILL),
        (2, "rollout worker 1", FREEZE),
        (3, "learner rank 0", KILL),
    )
    settings = (STEPS, "learner.engine=torch", "save_freq=1", "cluster.rollout_workers=2")
    found = run(fault_config(home, "accidents", *settings), plan)
    assert found.digest == undisturbed.digest
    assert (found.lost(undisturbed), found.twice(undisturbed), found.stale) == (0, 0, 0)
    assert sorted(found.steps) == [1, 2, 3]

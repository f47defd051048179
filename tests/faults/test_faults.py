"""The shorter form of ``make faults``: accidents in the middle of a run, and the same bits at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.actors.faults import FREEZE, KILL
from cluster.run.session import ray_running
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
    """One run, four accidents. It saves after each step; at the third the learner goes back one.

    Weights go by a collective: to two workers at once, to a replacement alone, and from a learner that comes new.
    """
    plan = plan_of(
        (1, "rollout worker 0", KILL),
        (2, "reward worker 0", KILL),
        (2, "rollout worker 1", FREEZE),
        (3, "learner rank 0", KILL),
    )
    settings = (STEPS, "learner.engine=torch", "save_freq=1", "cluster.rollout_workers=2")
    found = run(fault_config(home, "accidents", *settings, "cluster.weight_sync=collective"), plan)
    assert found.digest == undisturbed.digest
    assert (found.lost(undisturbed), found.twice(undisturbed), found.stale) == (0, 0, 0)
    assert sorted(found.steps) == [1, 2, 3]


@pytest.mark.long
@pytest.mark.usefixtures("ray_here")
def test_rollouts_ahead_have_the_same_bits_with_two_workers_and_accidents(home: Path) -> None:
    """Weights go by the object store; a learner that comes new starts from the first step, and so does what is ahead."""
    settings = ("steps=4", "learner.engine=torch", "max_staleness=1")
    inline = run(fault_config(home, "ahead-inline", *settings, "cluster.mode=inline"))
    accidents = plan_of((2, "rollout worker 1", KILL), (3, "learner rank 0", KILL))
    found = run(fault_config(home, "ahead", *settings, "save_freq=4", "cluster.rollout_workers=2"), accidents)
    alone = run(fault_config(home, "ahead-saved", *settings, "save_freq=4", "cluster.mode=inline"))
    assert found.digest == alone.digest == inline.digest

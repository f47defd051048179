"""What a worker has before a call: what that call needs, once, and nothing that was withdrawn. Without Ray."""

from __future__ import annotations

import pytest

from cluster.actors.call import Worker
from cluster.actors.preparations import Preparations
from cluster.actors.supervisor import PoolSettings, Supervisor


@pytest.fixture
def workers() -> list[Worker]:
    return [Worker(f"squarer {index}", index, f"actor {index}") for index in range(3)]


@pytest.fixture
def supervisor(workers: list[Worker]) -> Supervisor:
    """Of workers that no actor stands behind, all idle."""
    made = Supervisor("squarer", lambda index: None, 0, PoolSettings(60.0, 60.0, 30.0, 16))
    made.workers += workers
    made.idle += workers
    return made


@pytest.fixture
def preparations(supervisor: Supervisor) -> Preparations:
    made = Preparations(supervisor, 60.0)
    for unit in (5, 7):
        made.provide(unit, lambda actor, unit=unit: f"{actor} at {unit}")
    return made


def test_a_worker_is_prepared_where_it_has_something_else(preparations: Preparations, workers: list[Worker]) -> None:
    worker = workers[0]
    assert preparations.before_call(worker, 5) == "actor 0 at 5" and worker.has == 5
    assert preparations.before_call(worker, 5) is None
    assert preparations.before_call(worker, 7) == "actor 0 at 7" and worker.has == 7
    assert preparations.before_call(worker, None) is None and worker.has == 7
    worker.has = None  # restarted
    assert preparations.before_call(worker, 7) == "actor 0 at 7"


def test_what_was_announced_is_looked_at_by_the_next_call_and_no_later_one(
    preparations: Preparations, workers: list[Worker]
) -> None:
    workers[1].has = 5
    preparations.announce(5)
    assert [worker.announced for worker in workers] == ["actor 0 at 5", None, "actor 2 at 5"]
    assert preparations.before_call(workers[0], 5) == "actor 0 at 5"
    assert preparations.before_call(workers[0], 5) is None
    assert preparations.before_call(workers[2], 7) == "actor 2 at 7"  # what it has not loaded by then is of no use
    assert workers[2].announced is None


def test_a_busy_worker_is_not_prepared_ahead(
    preparations: Preparations, supervisor: Supervisor, workers: list[Worker]
) -> None:
    supervisor.idle.remove(workers[1])
    preparations.announce(7)
    assert [worker.has for worker in workers] == [7, None, 7]


def test_what_is_withdrawn_is_gone_and_what_is_kept_stays(preparations: Preparations, workers: list[Worker]) -> None:
    preparations.withdraw({7, 9})
    assert set(preparations.keys()) == {7}
    assert preparations.before_call(workers[0], 7) == "actor 0 at 7"
    with pytest.raises(KeyError):
        preparations.before_call(workers[0], 5)

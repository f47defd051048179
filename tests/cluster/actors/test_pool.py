"""The pool loses workers on purpose: every call is answered once, in its own place, or the error says who and what."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from cluster.actors.call import ATTEMPTS, Call
from cluster.actors.errors import LostWorkerError
from cluster.actors.heartbeat import OPTIONS
from cluster.actors.pool import ActorPool
from cluster.actors.supervisor import PoolSettings
from cluster.actors.waiting import gather
from rl.errors import DataError, DeadlineError, WorkerError
from tests.cluster.actors.squarer import Squarer

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture
def make_pool(tmp_path: Path) -> Any:
    pools: list[ActorPool] = []

    def make(
        size: int = 2,
        deadline_s: float = 60.0,
        folder: Path = tmp_path,
        heartbeat_s: float = 30.0,
        restart_budget: int = 16,
    ) -> ActorPool:
        remote = ray.remote(num_cpus=1, **OPTIONS)(Squarer)
        pool = ActorPool(
            "squarer",
            lambda index: remote.remote(index, str(folder)),
            size,
            PoolSettings(deadline_s, start_deadline_s=60.0, heartbeat_s=heartbeat_s, restart_budget=restart_budget),
            lambda worker, pid: None,
        )
        pools.append(pool)
        pool.wait_ready()
        set_unit(pool, 1)
        return pool

    yield make
    for pool in pools:
        pool.close()


def set_unit(pool: ActorPool, unit: int) -> None:
    pool.preparations.provide(unit, lambda actor: actor.set_unit.remote(unit))
    pool.preparations.run(unit, "setting the unit", lambda actors: [actor.set_unit.remote(unit) for actor in actors])


def squares(
    pool: ActorPool, numbers: range, accident: Callable[[int], tuple] = lambda number: (), unit: int = 1
) -> dict[int, int]:
    """Number -> what came back for it; counts on every call coming back exactly once."""

    def call(number: int) -> Call:
        return Call(number, f"squaring {number}", lambda actor: actor.square.remote(number, *accident(number)), unit)

    for number in numbers:
        pool.submit(call(number))
    found: dict[int, int] = {}
    while pool.dispatcher.running or pool.waiting:
        ready, _ = ray.wait(pool.refs, num_returns=1, timeout=max(0.0, pool.seconds_left()))
        for done in pool.collect(set(ready)):
            assert done.call.key not in found
            found[done.call.key] = done.value
    return found


def test_calls_are_done_by_all_and_answered_in_place(make_pool: Any) -> None:
    assert squares(make_pool(), range(20)) == {n: n * n for n in range(20)}


def test_dead_workers_are_replaced_and_prepared_before_they_serve(make_pool: Any) -> None:
    pool = make_pool()
    assert squares(pool, range(6), lambda n: ("die",) if n in (1, 4) else ()) == {n: n * n for n in range(6)}
    assert pool.restarts == 2
    set_unit(pool, 10)
    assert squares(pool, range(4), unit=10) == {n: 10 * n * n for n in range(4)}


def test_a_worker_that_died_idle_is_replaced_by_prepare(make_pool: Any) -> None:
    pool = make_pool(size=1)
    assert squares(pool, range(1)) == {0: 0}
    ray.kill(pool.supervisor.workers[0].actor)
    set_unit(pool, 3)
    assert squares(pool, range(1, 3), unit=3) == {1: 3, 2: 12}
    assert pool.restarts == 1


@pytest.mark.long  # a shorter one: a call that says what stands instead
def test_a_hung_worker_is_replaced_at_its_deadline(make_pool: Any) -> None:
    pool = make_pool(deadline_s=4.0)
    assert squares(pool, range(4), lambda n: ("hang",) if n == 2 else ()) == {n: n * n for n in range(4)}
    assert pool.restarts == 1


def test_a_stopped_worker_is_given_up_long_before_its_deadline(make_pool: Any) -> None:
    """It takes the signal at its own call, so it is stopped in the middle; what was with it is killed, not left behind."""
    pool = make_pool(heartbeat_s=5.0)
    before = {psutil.Process(state.beat.pid) for state in pool.states() if state.beat}
    assert squares(pool, range(4), lambda n: ("stop",) if n == 2 else ()) == {n: n * n for n in range(4)}
    assert pool.restarts == 1
    (gone,) = before - {psutil.Process(state.beat.pid) for state in pool.states() if state.beat}
    assert psutil.wait_procs([gone], timeout=30)[0] == [gone]  # its node's daemon has buried it by then


def test_calls_at_two_units_each_get_their_own(make_pool: Any) -> None:
    """What a call needs is loaded before it, whoever does it and whatever that one had loaded for the call before."""
    pool = make_pool(size=2)
    for unit in (5, 7):
        pool.preparations.provide(unit, lambda actor, unit=unit: actor.set_unit.remote(unit))
    for number in range(12):
        unit = (5, 7)[number % 2]
        pool.submit(Call(number, f"{number}", lambda actor, n=number: actor.square.remote(n), unit))
    found = {}
    while pool.dispatcher.running or pool.waiting:
        ready, _ = ray.wait(pool.refs, num_returns=1, timeout=pool.seconds_left())
        found.update({done.call.key: done.value for done in pool.collect(set(ready))})
    assert found == {n: (5, 7)[n % 2] * n * n for n in range(12)}


@pytest.mark.long  # the same
def test_a_call_that_kills_every_worker_ends_with_its_name(make_pool: Any) -> None:
    pool = make_pool(size=1)
    with pytest.raises(WorkerError, match=rf"squarer 0 was lost, squaring 7: .*\(attempt {ATTEMPTS} of {ATTEMPTS}\)"):
        squares(pool, range(7, 8), lambda n: ("die", True))
    assert pool.restarts == ATTEMPTS - 1


@pytest.mark.long
def test_a_call_that_waits_behind_one_that_kills_is_not_to_blame(make_pool: Any) -> None:
    """One worker has two calls: the first ends it each time, the second is done by the one that comes after those."""
    pool = make_pool(size=1)
    for number in range(4):
        accident = ("die", True) if number == 0 else ()
        send = lambda actor, n=number, a=accident: actor.square.remote(n, *a)  # noqa: E731
        pool.submit(Call(number, f"squaring {number}", send, 1, lambda error: error))
    assert len(pool.refs) == 2 and pool.waiting == 2
    found = {}
    while pool.dispatcher.running or pool.waiting:
        ready, _ = ray.wait(pool.refs, num_returns=1, timeout=max(0.0, pool.seconds_left()))
        found.update({done.call.key: done.value for done in pool.collect(set(ready))})
    assert isinstance(found.pop(0), LostWorkerError) and found == {1: 1, 2: 4, 3: 9}
    assert pool.restarts == ATTEMPTS


@pytest.mark.long
def test_a_worker_that_is_lost_while_it_starts_is_started_again(make_pool: Any, tmp_path: Path) -> None:
    (tmp_path / "start-1").touch()
    pool = make_pool(size=1)
    assert squares(pool, range(4)) == {n: n * n for n in range(4)}
    assert pool.restarts == 1
    for number in range(ATTEMPTS):  # which no attempt of the call, whose first killed its worker, counts for
        (tmp_path / f"start-{number}").touch()
    assert squares(pool, range(4, 5), lambda n: ("die",)) == {4: 16}
    assert pool.restarts == 2 + ATTEMPTS
    for number in range(ATTEMPTS):
        (tmp_path / f"start-{number}").touch()
    with pytest.raises(WorkerError, match=rf"squarer 0 was lost, starting: .*\(attempt {ATTEMPTS} of {ATTEMPTS}\)"):
        make_pool(size=1)


def test_a_call_that_says_what_stands_instead_ends_nothing(make_pool: Any) -> None:
    """One kills whoever takes it, one keeps them for ever: each has its own value, the others theirs."""
    pool = make_pool(deadline_s=4.0)
    accidents = {1: "die", 3: "hang"}
    for number in range(6):
        accident = (accidents[number], True) if number in accidents else ()
        send = lambda actor, n=number, a=accident: actor.square.remote(n, *a)  # noqa: E731
        pool.submit(Call(number, f"squaring {number}", send, 1, lambda error: error, overdue_attempts=1))
    found = {}
    while pool.dispatcher.running or pool.waiting:
        ready, _ = ray.wait(pool.refs, num_returns=1, timeout=max(0.0, pool.seconds_left()))
        found.update({done.call.key: done.value for done in pool.collect(set(ready))})
    assert isinstance(found[1], LostWorkerError) and f"attempt {ATTEMPTS} of {ATTEMPTS}" in str(found[1])
    assert isinstance(found[3], DeadlineError) and "within 4 s (attempt 1 of 1)" in str(found[3])
    assert {number: found[number] for number in (0, 2, 4, 5)} == {0: 0, 2: 4, 4: 16, 5: 25}
    assert pool.restarts == ATTEMPTS + 1


def test_a_spent_budget_ends_the_run_with_the_loss_that_spent_it(make_pool: Any) -> None:
    pool = make_pool(size=1, restart_budget=1)
    spent = r"squarer 0 was lost, squaring 2: .*\(all 1 replacements of squarers are used up\)"
    with pytest.raises(WorkerError, match=spent):
        squares(pool, range(3), lambda n: ("die",) if n in (1, 2) else ())
    assert pool.restarts == 1


def test_what_a_worker_cannot_load_is_told_as_it_is(make_pool: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="^row 3: no reference$"):
        make_pool(size=1, folder=tmp_path / "nowhere")


def test_errors_on_purpose_come_through_and_bugs_name_their_worker(make_pool: Any) -> None:
    pool = make_pool(size=1)
    with pytest.raises(DataError, match="^row 3: no reference$"):
        squares(pool, range(1), lambda n: ("data",))
    with pytest.raises(WorkerError, match="^squarer 0, setting: ZeroDivisionError: of a worker$"):
        gather({pool.supervisor.workers[0].actor.square.remote(1, "bug"): "squarer 0"}, "setting", 60.0)
    assert pool.restarts == 0


def test_a_wait_names_whom_it_waited_for(make_pool: Any) -> None:
    actor = make_pool(size=1).supervisor.workers[0].actor
    calls = {actor.square.remote(1, "hang"): "squarer 0", ray.put(5): "somebody quick"}
    with pytest.raises(DeadlineError, match="^starting: no answer from squarer 0 within 0.5 s$"):
        gather(calls, "starting", 0.5)


def test_lost_worker_errors_pickle() -> None:
    again = pickle.loads(pickle.dumps(LostWorkerError("rollout worker 1 was lost")))
    assert isinstance(again, WorkerError) and str(again) == "rollout worker 1 was lost"

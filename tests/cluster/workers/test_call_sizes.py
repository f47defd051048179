"""Calls of several groups: each group in one call, in order, none longer than a moment unless one group alone is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.workers.call_sizes import SHARES, CallSizes, slowest_first
from rl.types import Message, Prompt, Task

LONGEST_S = 0.2
SECONDS = {Task.TEXT: 0.11, Task.UNDERSTAND: 0.03, Task.DRAW: 0.01}
TASKS = st.lists(st.sampled_from(list(Task)), max_size=60)


def prompts_of(tasks: list[Task]) -> list[Prompt]:
    return [Prompt(f"{task}/{index}", task, (Message("user", "?"),)) for index, task in enumerate(tasks)]


@pytest.fixture(scope="module")
def sizes() -> CallSizes:
    made = CallSizes(LONGEST_S)
    for task, seconds in SECONDS.items():
        made.measured(prompts_of([task])[0], False, seconds)
    return made


@given(tasks=TASKS, workers=st.one_of(st.none(), st.integers(1, 9)))
def test_every_group_is_in_one_call_and_no_call_of_several_takes_long(
    sizes: CallSizes, tasks: list[Task], workers: int | None
) -> None:
    calls = sizes.calls(prompts_of(tasks), False, workers)
    assert [place for call in calls for place in call] == list(range(len(tasks)))
    left = sum(SECONDS.get(task, LONGEST_S) for task in tasks)
    for call in calls:
        seconds = sum(SECONDS.get(tasks[place], LONGEST_S) for place in call)
        room = LONGEST_S if workers is None else min(LONGEST_S, left / (SHARES * workers))
        assert len(call) == 1 or seconds <= room + 1e-9
        left -= seconds


def test_what_was_never_measured_is_a_call_of_its_own(sizes: CallSizes) -> None:
    prompts = prompts_of([Task.DRAW] * 8)
    assert [len(call) for call in sizes.calls(prompts, True, 1)] == [1] * 8
    assert max(len(call) for call in sizes.calls(prompts, False, 1)) > 1


def test_a_group_that_got_slow_is_a_call_of_its_own_again() -> None:
    sizes, prompts = CallSizes(LONGEST_S), prompts_of([Task.TEXT] * 12)
    sizes.measured(prompts[0], False, 0.01)
    assert len(sizes.calls(prompts, False)) == 1
    for _ in range(3):
        sizes.measured(prompts[0], False, 1.0)
    assert len(sizes.calls(prompts, False)) == 12


@given(tasks=TASKS)
def test_what_is_scored_longest_is_sampled_first(sizes: CallSizes, tasks: list[Task]) -> None:
    prompts = prompts_of(tasks)
    order = slowest_first(prompts, False, sizes)
    assert sorted(order) == list(range(len(tasks)))
    seconds = [SECONDS.get(tasks[index], 0.0) for index in order]
    assert seconds == sorted(seconds, reverse=True)
    assert all(first < second for first, second in zip(order, order[1:], strict=False) if tasks[first] == tasks[second])
    assert slowest_first(prompts, True, sizes) == list(range(len(tasks)))  # nothing measured: as they come

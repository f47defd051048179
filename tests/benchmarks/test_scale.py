"""The simulation of many workers: its yardstick, and a small run of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.scale import Shape, config_for, group_seconds, measure, schedule
from rl.types import Message, Prompt, Task

SHAPE = Shape(seconds=0.2, groups=2, steps=2, group_size=2, tokens=16, reward_s=0.01)


def test_the_shortest_time_by_hand() -> None:
    assert schedule([3, 1, 1, 1], 2) == 3  # the second worker does the three short ones
    assert schedule([1, 1, 1, 3], 2) == 4  # the order is the scheduler's: it does not know what is coming
    assert schedule([2, 2, 2], 1) == 6


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.integers(1, 8))
def test_no_schedule_beats_its_bounds(seconds: list[float], workers: int) -> None:
    found = schedule(seconds, workers)
    assert found >= max(max(seconds), sum(seconds) / workers) - 1e-9
    assert found <= sum(seconds) / workers + max(seconds) + 1e-9


def test_a_group_takes_the_same_time_wherever_it_is_asked() -> None:
    prompts = [Prompt(f"p{index}", Task.TEXT, (Message("user", "x"),)) for index in range(200)]
    seconds = [group_seconds(Shape(), 3, prompt) for prompt in prompts]
    assert seconds == [group_seconds(Shape(), 3, prompt) for prompt in prompts]
    assert sum(seconds) / 200 == pytest.approx(Shape().seconds, rel=0.05) and len(set(seconds)) == 200
    assert config_for(64, Shape()).rollout.batch_size == 256


@pytest.mark.usefixtures("local_ray")
@pytest.mark.long
def test_a_small_simulation() -> None:
    row = measure(3, SHAPE)
    assert row["workers"] == 3 and row["processes"] == 2 and row["groups_a_step"] == 6
    assert row["step_s"] >= row["ideal_s"] > 0.3 and 0 < row["efficiency"] <= 1
    assert row["controller_s"] > 0

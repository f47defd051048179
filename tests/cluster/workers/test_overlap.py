"""Slow rewards: groups are scored side by side, and what a step waits for is what the arithmetic says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.speed.overlap import GROUPS, SIZE, WORKERS, expected, finished
from cluster.actors.resources import place
from cluster.learner.one_rank import FrozenLearner
from cluster.workers.on_ray import RayWorkers
from tests.cluster.runs import PROMPTS, make_config

REWARD = """
import json, os, time

def reward(prompts, completions, wait_s, log, **columns):
    began = time.monotonic()
    time.sleep(wait_s * len(completions))
    with open(log, "a") as file:
        file.write(json.dumps([os.getpid(), began, time.monotonic()]) + "\\n")
    return [1.0] * len(completions)
"""


def test_the_arithmetic_by_hand() -> None:
    """Two servers, 3 s each, arrivals at 1, 2, 3, 4: the third waits for the first, the fourth for the second."""
    assert finished([1.0, 2.0, 3.0, 4.0], 3.0, 2) == [4.0, 5.0, 7.0, 8.0]
    assert finished([1.0, 2.0], 0.5, 1) == [1.5, 2.5]
    quick, slow = expected(8.0, 0.05), expected(8.0, 0.5)
    assert quick == pytest.approx(0.05 * SIZE)  # only the last group's own time is left
    work = GROUPS * SIZE * 0.5 / WORKERS  # two workers busy from the first group on
    assert slow == pytest.approx(8.0 / GROUPS + work - 8.0, abs=8.0 / GROUPS)


@pytest.mark.usefixtures("local_ray")
@pytest.mark.long
def test_groups_are_scored_side_by_side_and_the_metrics_say_how_long(home: Path, tmp_path: Path) -> None:
    """Six groups of four, two workers, 0.2 s an item. Intervals are written down by the reward itself."""
    (tmp_path / "slow.py").write_text(REWARD)
    kwargs = {"wait_s": 0.2, "log": str(tmp_path / "log")}
    settings = [f"custom_reward_function.reward_kwargs.{key}={value}" for key, value in kwargs.items()]
    settings += [f"custom_reward_function.path={tmp_path / 'slow.py'}", "cluster.reward_workers=2"]
    config = make_config(home, "cluster.mode=ray", *settings)
    workers = RayWorkers(config, place(config))
    try:
        workers.wait_ready()
        groups = workers.rollout_and_score(PROMPTS, workers.update_weights(FrozenLearner(config), 1), seed=11)
    finally:
        workers.close()
    intervals = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    first, second = ([row for row in intervals if row[0] == pid] for pid in sorted({row[0] for row in intervals}))
    assert len(first) + len(second) == len(PROMPTS)
    assert any(a[1] < b[2] and b[1] < a[2] for a in first for b in second)  # at the same time
    scores = [score for group in groups for score in group.scores]
    assert all(score.value == 1.0 and score.calls["custom"].seconds >= 0.2 for score in scores)
    timings = workers.timings()
    assert timings["timing_s/reward"] >= 0.2 * len(scores)
    assert timings["perf/exposed_reward_s"] >= 0.2 * 4  # nothing can hide the scoring of the group that came last

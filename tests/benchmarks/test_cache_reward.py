"""The comparison of rewards with and without a cache: which prompts, which pairs, and where nothing can differ."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.learning.cache_reward import _change, prompts_of, run
from rl.config import load_config
from rl.errors import ConfigError
from rl.types import Task

CONFIG = load_config(
    "tiny",
    [
        "data.train=[{source: easy_vqa}]",
        "data.val=[{source: easy_vqa, split: val, limit: 2}, {source: sudoku4x4, split: val, args: {blanks: [4, 5]}}]",
        "rollout.text={max_new_tokens: 36, block_length: 18, steps: 8, temperature: 1.0}",
    ],
)


def test_prompts_are_of_the_task_and_as_many_as_asked_for():
    found = prompts_of(CONFIG, Task.TEXT, 5)
    assert len({prompt.id for prompt in found}) == 5 and {prompt.task for prompt in found} == {Task.TEXT}
    with pytest.raises(ConfigError, match=r"--prompts 1000000: the recipe's data has \d+ of task text"):
        prompts_of(CONFIG, Task.TEXT, 1_000_000)


@pytest.mark.long
def test_each_way_is_compared_with_exact_answers():
    prompts = prompts_of(CONFIG, Task.TEXT, 4)
    result = run(CONFIG, Task.TEXT, prompts, ["dual"])
    assert result["prompts"] == 4 and result["steps"] == 8 and 0 < result["dual"]["agreement"] <= 1
    for part in ("reward", "right"):
        change = result["dual"][f"{part}_change"]
        assert change["mean"] == pytest.approx(result["dual"][part] - result["exact"][part])


def test_a_difference_has_its_interval():
    change = _change(np.array([1.0, 0.0, np.nan, 1.0]), np.array([1.0, 1.0, 1.0, 0.0]))
    assert change["mean"] == 0 and change["interval"] == pytest.approx(1.96 / 3**0.5)

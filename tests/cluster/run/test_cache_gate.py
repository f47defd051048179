"""An approximate cache must show what it costs before a run trains with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cluster.run import cache_gate
from cluster.run.cache_gate import Report, calibration_set, compare
from rl.config import CacheGateConfig
from rl.errors import ConfigError
from rl.types import Group, Rollout, RolloutStatus, Score, ScoreStatus, Task
from tests.cluster.runs import make_config
from tests.rl.examples import Recorder
from tests.toys import toy_draw_prompt, toy_text_prompt, toy_understand_prompt

SOURCES = [[toy_text_prompt(i) for i in range(4)], [toy_understand_prompt(0)], [toy_draw_prompt(0)]]


def group(ids: list[int], score: Score) -> Group:
    token_ids = np.array([5, 6, *ids])
    mask = np.arange(len(token_ids)) >= 2
    rollout = Rollout("p", 0, token_ids, mask, np.zeros(len(token_ids)), 0, 0, RolloutStatus.COMPLETE)
    return Group(toy_text_prompt(), (rollout,), (score,))


def test_a_report_counts_places_that_differ_and_leaves_failed_scores_out():
    exact = [group([1, 2, 3, 4], Score(1.0)), group([1, 2], Score(0.5)), group([9], Score(np.nan, ScoreStatus.CRASHED))]
    cached = [group([1, 7, 3, 4], Score(0.0)), group([1, 2, 3, 4], Score(0.5)), group([9], Score(1.0))]
    # 3 of 4 places, 2 of the longer one's 4, and 1 of 1.
    assert compare(exact, cached) == Report(6 / 9, 0.75, 0.5, 3)


@pytest.mark.parametrize(
    ("report", "passes"),
    [
        (Report(0.9, 1.0, 0.95, 8), True),
        (Report(0.89, 1.0, 1.0, 8), False),
        (Report(1.0, 1.0, 0.94, 8), False),
        (Report(0.95, 1.0, 2.0, 8), True),
        (Report(1.0, float("nan"), 1.0, 8), False),
    ],
)
def test_both_bounds_must_hold(report: Report, passes: bool):
    assert report.passes(CacheGateConfig(min_agreement=0.9, max_reward_drop=0.0501)) == passes


def test_the_calibration_set_takes_sources_in_turn_and_only_tasks_with_a_cache():
    found = calibration_set(SOURCES, {Task.TEXT, Task.UNDERSTAND}, 3)
    assert [prompt.id for prompt in found] == ["toy/text/0", "toy/understand/0", "toy/text/1"]
    assert calibration_set(SOURCES, {Task.THINK_DRAW}, 3) == []


def test_exact_runs_are_not_measured(tmp_path: Path):
    assert cache_gate.check(make_config(tmp_path), SOURCES, Recorder()) is None


def test_a_run_is_refused_or_let_through_by_what_was_measured(tmp_path: Path):
    overrides = ("rollout.text.cache=dual", "rollout.cache_gate.prompts=3")
    config, recorder = make_config(tmp_path, *overrides), Recorder()
    lenient = replace(config.rollout.cache_gate, min_agreement=0.0, max_reward_drop=100.0)
    report = cache_gate.check(replace(config, rollout=replace(config.rollout, cache_gate=lenient)), SOURCES, recorder)
    assert report is not None and report.prompts == 3 and 0 < report.agreement <= 1
    assert recorder.logged[0]["cache/agreement"] == report.agreement
    impossible = replace(lenient, max_reward_drop=-100.0)
    with pytest.raises(ConfigError, match=r"rollout.text.cache=dual: on 3 training prompts .* set cache=none"):
        cache_gate.check(replace(config, rollout=replace(config.rollout, cache_gate=impossible)), SOURCES, recorder)


def test_one_block_filled_in_one_step_agrees_wholly(tmp_path: Path):
    """Nothing is kept then: the cache has no second step to serve."""
    config = make_config(tmp_path, "rollout.text={cache: prefix, max_new_tokens: 8, block_length: 8, steps: 1}")
    report = cache_gate.check(config, SOURCES, Recorder())
    assert report is not None and report.agreement == 1 and report.reward_exact == report.reward_cached

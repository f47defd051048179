"""How a run over a real toy policy ends: crashes, rewards that fail, steps without a group."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rl.config import (
    LearnerConfig,
)
from rl.errors import TrainingError
from rl.types import (
    RewardCall,
    Rollout,
    Score,
    ScoreStatus,
)
from tests.rl.examples import Recorder
from tests.rl.toy_loop import ToyWorkers, by_content, config, run, start
from tests.toys import toy_draw_prompt


@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_crash_is_told_to_the_tracker(tmp_path: Path, error: type[BaseException], status: str) -> None:
    def crash(rollout: Rollout) -> Score:
        if rollout.weight_version == 1:
            raise error
        return by_content(rollout)

    recorder = Recorder()
    with pytest.raises(error):
        start(config(tmp_path), ToyWorkers(crash), recorder)
    assert recorder.ended == [status]
    assert sorted(recorder.logged) == [0, 1]


def test_a_step_without_a_usable_group_changes_nothing(tmp_path: Path) -> None:
    def fail_once(rollout: Rollout) -> Score:
        return Score(math.nan, ScoreStatus.TIMEOUT) if rollout.weight_version == 1 else by_content(rollout)

    _, recorder = run(config(tmp_path), ToyWorkers(fail_once))
    assert recorder.logged[2]["frac_groups_dropped"] == 1.0
    assert recorder.logged[2]["score_status/timeout"] == 1.0
    assert recorder.logged[2]["actor/skipped_updates"] == 1.0
    assert "critic/rewards/mean" not in recorder.logged[2]
    assert "actor/pg_loss" in recorder.logged[3]  # and the run goes on


def test_a_run_of_failures_stops(tmp_path: Path) -> None:
    recorder = Recorder()
    learner = LearnerConfig(engine="torch", max_skipped_updates=2, threads=1)
    workers = ToyWorkers(lambda rollout: Score(math.nan, ScoreStatus.CRASHED))
    with pytest.raises(TrainingError, match="2 updates in a row"):
        start(config(tmp_path, learner=learner, steps=9, val_before_train=False), workers, recorder)
    assert recorder.ended == ["FAILED"]


def scored(name: str, *failing: int, task: str = "") -> Callable[[Rollout], Score]:
    """The reward ``name`` fails at the versions ``failing`` (-1: at all of them); ``steady`` always works."""

    def score(rollout: Rollout) -> Score:
        good = by_content(rollout)
        calls = {"steady": RewardCall(ScoreStatus.OK, 0.0)}
        if task and not rollout.prompt_id.startswith(task):
            return replace(good, calls=calls)
        if -1 in failing or rollout.weight_version in failing:
            calls[name] = RewardCall(ScoreStatus.CRASHED, 0.0)
            detail = f"{name}: my.py:11: return {rollout.index} / 0: ZeroDivisionError (row {rollout.prompt_id})"
            return Score(math.nan, ScoreStatus.CRASHED, detail=detail, calls=calls)
        return replace(good, calls=calls | {name: RewardCall(ScoreStatus.OK, 0.0)})

    return score


def broken(folder: Path, score: Callable[[Rollout], Score], **settings: Any) -> tuple[Recorder, str]:
    """What a run that must end says."""
    recorder = Recorder()
    with pytest.raises(TrainingError) as caught:
        start(config(folder, **settings), ToyWorkers(score), recorder, total=9)
    assert recorder.ended == ["FAILED"] and "\n" not in str(caught.value)
    return recorder, str(caught.value)


def test_a_reward_that_fails_at_every_held_out_row_ends_the_run_before_its_first_step(tmp_path: Path) -> None:
    recorder, said = broken(tmp_path, scored("mine", -1))
    assert sorted(recorder.logged) == [0]
    assert (
        "the reward 'mine' failed for all 2 scores of the evaluation before training, each time as crashed: mine: "
        in said
    )
    assert "my.py:11: return 0 / 0: ZeroDivisionError" in said and "unigrpo rewards check" in said


def test_a_reward_that_fails_in_each_of_the_first_three_steps_ends_the_run(tmp_path: Path) -> None:
    recorder, said = broken(tmp_path, scored("mine", -1), val_before_train=False, steps=9)
    assert sorted(recorder.logged) == [1, 2]
    assert (
        "the reward 'mine' failed for all 24 scores of the first 3 steps, each time as crashed: mine: my.py:11" in said
    )


def test_so_does_one_of_a_task_beside_another_that_works(tmp_path: Path) -> None:
    task = toy_draw_prompt(0).id.rstrip("0")
    workers = scored("mine", -1, task=task)
    recorder, said = broken(tmp_path, workers, val_before_train=False, steps=9)
    assert "the reward 'mine' failed for all" in said and len(recorder.logged) >= 2


def test_a_reward_that_worked_once_may_fail_for_long(tmp_path: Path) -> None:
    result, recorder = run(config(tmp_path, steps=6), ToyWorkers(scored("mine", 1, 2, 3, 4)))
    assert result.steps == 6 and recorder.ended == ["FINISHED"]
    (tmp_path / "late").mkdir()
    late = config(tmp_path / "late", steps=3, val_before_train=False)
    assert run(late, ToyWorkers(scored("mine", 0, 1)))[1].ended == ["FINISHED"]  # two steps, and then it works


def test_a_short_run_without_an_update_fails_too(tmp_path: Path) -> None:
    for steps in (1, 2):
        _, said = broken(tmp_path / str(steps), scored("mine", -1), val_before_train=False, steps=steps)
        when = "the run" if steps == 1 else "all 2 steps"
        assert f"the reward 'mine' failed for all {8 * steps} scores of {when}" in said
    learner = LearnerConfig(engine="torch", drop_equal_groups=True, threads=1)
    _, said = broken(tmp_path / "equal", lambda rollout: Score(1.0), learner=learner, steps=2)
    assert "none of the 2 steps changed the weights: 0 of 16 scores failed" in said


def test_the_commonest_cause_is_named_with_its_count(tmp_path: Path) -> None:
    def score(rollout: Rollout) -> Score:
        if rollout.index % 4 == 0:
            return Score(
                math.nan,
                ScoreStatus.TIMEOUT,
                detail="other: slow",
                calls={"other": RewardCall(ScoreStatus.TIMEOUT, 0.0)},
            )
        return scored("mine", -1)(rollout)

    _, said = broken(tmp_path, score, val_before_train=False, steps=1)
    assert "failed for all" in said
    one = Score(math.nan, ScoreStatus.INVALID, detail="no reward applies to this row")
    _, said = broken(tmp_path / "none", lambda rollout: one, val_before_train=False, steps=9)
    assert (
        "nothing could be scored: failed for all 24 scores of the first 3 steps, each time as invalid: no reward applies"
        in said
    )

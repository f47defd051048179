"""Dynamic sampling: groups without a signal are set aside, and more prompts are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from rl.config import Config, RolloutConfig
from rl.config.rewards import FailureConfig, RewardsConfig
from rl.errors import RewardError
from rl.rollouts import Sampled, sample_groups
from rl.types import Prompt, Rollout, Score, ScoreStatus, WeightRef
from tests.rl.toy_loop import ToyWorkers, by_content
from tests.toys import toy_draw_prompt, toy_text_prompt

WEIGHTS = WeightRef(1, "digest")


class Turns:
    """Text and drawing in turn."""

    def __init__(self) -> None:
        self.given: list[Prompt] = []

    def next(self, count: int) -> list[Prompt]:
        first = len(self.given)
        made = [(toy_text_prompt if i % 2 else toy_draw_prompt)(i) for i in range(first, first + count)]
        self.given += made
        return made

    def restore(self, state: Mapping[str, Any]) -> None:
        self.given = self.given[: state["given"]]

    def state(self) -> dict[str, int]:
        return {"given": len(self.given)}


def sampled(score: Callable[[Rollout], Score], limit: int, size: int = 2) -> tuple[Sampled, ToyWorkers, Turns]:
    workers, stream = ToyWorkers(score), Turns()
    config = Config(rollout=RolloutConfig(batch_size=size, n_samples_per_prompt=4, max_gen_batches=limit))
    return sample_groups(workers, stream, WEIGHTS, config, 3), workers, stream


def only_drawings_differ(rollout: Rollout) -> Score:
    return by_content(rollout) if "draw" in rollout.prompt_id else Score(1.0)


def test_without_it_a_step_is_one_batch() -> None:
    found, workers, stream = sampled(lambda rollout: Score(1.0), limit=1)
    assert [group.prompt for group in found.groups] == stream.given and found.chosen == found.groups
    assert len(workers.seeds) == 1 and found.timings == workers.timings()


def test_groups_of_equals_are_replaced() -> None:
    found, workers, stream = sampled(only_drawings_differ, limit=5)
    assert [group.prompt.id for group in found.chosen] == ["toy/draw/0", "toy/draw/2"]
    assert len(found.groups) == len(stream.given) == 4
    assert found.timings["rollout/gen_batches"] == 2
    assert found.timings["timing_s/gen"] == pytest.approx(2 * workers.timings()["timing_s/gen"])
    assert len({seed for seed, _ in workers.seeds}) == 2
    first, _, _ = sampled(only_drawings_differ, limit=1)
    assert [g.rollouts[0].seed for g in first.groups] == [g.rollouts[0].seed for g in found.groups[:2]]


def test_it_gives_up_after_so_many_batches_and_learns_from_what_it_has() -> None:
    found, workers, _ = sampled(lambda rollout: Score(1.0), limit=3)
    assert len(workers.seeds) == 3 and found.chosen == [] and len(found.groups) == 6


def test_a_failed_score_is_no_signal() -> None:
    def failing(rollout: Rollout) -> Score:
        score = only_drawings_differ(rollout)
        return replace(score, status=ScoreStatus.CRASHED) if rollout.prompt_id == "toy/draw/0" else score

    found, _, _ = sampled(failing, limit=3)
    assert [group.prompt.id for group in found.chosen] == ["toy/draw/2", "toy/draw/4"]


@pytest.mark.parametrize("limit", [1, 4])
def test_failures_are_counted_among_all_that_was_sampled(limit: int) -> None:
    """Groups that dynamic sampling sets aside count: a broken reward ends the run, it is not sampled around."""

    def drawings_fail(rollout: Rollout) -> Score:
        return Score(math.nan, ScoreStatus.CRASHED) if "draw" in rollout.prompt_id else by_content(rollout)

    rollout = RolloutConfig(batch_size=2, n_samples_per_prompt=4, max_gen_batches=limit)
    config = Config(rollout=rollout, rewards=RewardsConfig(on_failure=FailureConfig("fail", max_failed_share=0.4)))
    with pytest.raises(RewardError, match="4 of a step's 8 scores failed, first: crashed"):
        sample_groups(ToyWorkers(drawings_fail), Turns(), WEIGHTS, config, 0)

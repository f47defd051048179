"""Groups on their way through scoring: which parts of a call they are, and what a further attempt is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cluster.actors.call import ATTEMPTS
from cluster.actors.errors import LostWorkerError
from cluster.workers.batch_in_flight import BatchInFlight, Timed
from cluster.workers.score_calls import Handover, ToScore, model_score_call, score_call
from rl.config import Config, build_config
from rl.errors import DeadlineError
from rl.types import Rollout, RolloutStatus, Score, ScoreStatus, WeightRef
from tests.cluster.runs import PROMPTS

COUNT, SIZE = 4, 2
ROLLOUT = Rollout(
    prompt_id="p",
    index=0,
    token_ids=np.zeros(1, dtype=np.int64),
    response_mask=np.ones(1, dtype=bool),
    step_map=np.zeros(1, dtype=np.int32),
    seed=1,
    weight_version=0,
    status=RolloutStatus.COMPLETE,
)


@pytest.fixture
def config() -> Config:
    return build_config([("test", {"rewards": {"mix": {"text": {"length": 1.0}}, "scorers": ["length"]}})])


def to_score(ref: Any = "sampled's ref") -> ToScore:
    """Prompts 1 to 4 of a batch, sampled in one call."""
    batch = BatchInFlight(PROMPTS, WeightRef(0, ""), False, seed=1)
    sampled = tuple(Timed((ROLLOUT,) * SIZE, f"rollout worker {index}", 1.0) for index in range(COUNT))
    return ToScore(batch, tuple(range(1, 1 + COUNT)), tuple(range(COUNT)), sampled, ref)


def parts(count: int) -> tuple[Timed[Any], ...]:
    return tuple(Timed(({"length": Score(float(at))},) * SIZE, "model reward worker 0", 1.0) for at in range(count))


class Actor:
    """Keeps what ``score.remote`` was given."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, ...]] = []

    @property
    def score(self) -> Actor:
        return self

    def remote(self, *arguments: Any) -> int:
        self.given.append(arguments)
        return len(self.given)


@pytest.mark.parametrize(("ref", "expected"), [("ref", ["ref", "value", "value"]), (None, ["value"] * 3)])
def test_a_ref_is_handed_over_once(ref: str | None, expected: list[str]) -> None:
    handed = Handover(ref, "value")
    assert [handed.next() for _ in expected] == expected


def test_some_of_the_groups_are_those_at_these_positions() -> None:
    groups = to_score()
    part = groups.only([3, 1])
    assert (part.indices, part.places) == ((4, 2), (3, 1))
    assert part.prompts == [PROMPTS[4], PROMPTS[2]]
    assert (part.sampled, part.ref) == (groups.sampled, groups.ref)  # the call that sampled them is the same
    assert part.only([1]).indices == (2,)
    assert groups.only([]).prompts == []


def test_some_of_what_model_reward_workers_scored_comes_from_the_driver() -> None:
    scored = parts(COUNT)
    groups = to_score().with_model_scored(scored, "its ref")
    assert groups.model_scored_ref == "its ref"
    part = groups.only([2, 0])
    assert (part.model_scored, part.model_scored_ref) == ((scored[2], scored[0]), None)


def test_one_by_one_each_group_is_alone_and_without_refs() -> None:
    scored = parts(COUNT)
    alone = to_score().with_model_scored(scored, "its ref").one_by_one()
    assert [each.indices for each in alone] == [(1,), (2,), (3,), (4,)]
    assert [each.places for each in alone] == [(0,), (1,), (2,), (3,)]
    assert [each.model_scored for each in alone] == [(one,) for one in scored]
    assert {(each.ref, each.model_scored_ref) for each in alone} == {(None, None)}


def test_a_second_attempt_is_given_what_the_driver_has() -> None:
    groups = to_score().with_model_scored(parts(COUNT), "its ref")
    call, actor = score_call(groups, overdue_attempts=2), Actor()
    assert [call.send(actor), call.send(actor)] == [1, 2]
    first, second = actor.given
    assert first == (groups.prompts, "sampled's ref", (0, 1, 2, 3), False, "its ref")
    assert second == (groups.prompts, groups.sampled, (0, 1, 2, 3), False, groups.model_scored)


def test_several_groups_are_tried_once_together_and_one_as_often_as_it_may(config: Config) -> None:
    for make in (score_call, lambda groups, attempts: model_score_call(groups, attempts, config)):
        together, alone = make(to_score(), 2), make(to_score().only([1]), 2)
        assert (together.attempts, together.overdue_attempts) == (1, 1)
        assert together.instead is not None and together.instead(LostWorkerError("gone")) is None
        assert together.label == f"scoring {PROMPTS[1].id} and 3 more"
        assert (alone.attempts, alone.overdue_attempts) == (ATTEMPTS, 2)
        assert alone.label == f"scoring {PROMPTS[2].id}"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LostWorkerError("reward worker 0 was lost"), ScoreStatus.CRASHED),
        (DeadlineError("no answer within 4 s"), ScoreStatus.TIMEOUT),
    ],
)
def test_a_group_that_nobody_could_score_has_a_status_and_no_zero(
    config: Config, error: LostWorkerError | DeadlineError, status: ScoreStatus
) -> None:
    groups = to_score().only([0])
    alone = score_call(groups, 1).instead
    assert alone is not None
    (made,) = alone(error)
    assert [score.status for score in made.value] == [status] * SIZE
    assert all(np.isnan(score.value) and "isolate=true" in score.detail for score in made.value)
    text = to_score().only([2])  # a text prompt: its reward needs a model reward worker
    by_model = model_score_call(text, 1, config).instead
    assert by_model is not None
    (made,) = by_model(error)
    assert [{name: score.status for name, score in each.items()} for each in made.value] == [{"length": status}] * SIZE

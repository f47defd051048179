from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.evaluation import evaluate, summarise
from rl.protocols import Learner
from rl.types import Group, Prompt, ScoreStatus, Task, WeightRef
from tests.rl.examples import draw_group, failed, score, text_group


def test_means_are_taken_per_task_per_part_and_per_source():
    groups = [
        text_group("a", score(1.0, correctness=1.0, format=1.0), score(0.0, correctness=0.0, format=1.0)),
        text_group("b", score(1.0, correctness=1.0, format=0.0), source="sudoku4x4"),
        text_group("c", score(0.0, correctness=0.0), task=Task.UNDERSTAND, source="easy_vqa"),
        draw_group("d", score(0.5, composition=0.5, clip=0.25)),
    ]
    metrics = summarise(groups)
    assert metrics["val/text/score"] == pytest.approx(2 / 3)
    assert metrics["val/text/correctness"] == pytest.approx(2 / 3)
    assert metrics["val/text/format"] == pytest.approx(2 / 3)
    assert metrics["val/sums/score"] == 0.5
    assert metrics["val/sudoku4x4/score"] == 1.0
    assert metrics["val/understand/score"] == 0.0
    assert metrics["val/draw/score"] == metrics["val/draw/composition"] == 0.5
    assert metrics["val/draw/clip"] == 0.25
    assert metrics["val/draw/n"] == 1.0


def test_failed_scores_are_counted_and_are_no_part_of_the_mean():
    metrics = summarise([text_group("a", score(1.0, correctness=1.0), failed(), failed(ScoreStatus.CRASHED))])
    assert metrics["val/text/score"] == 1.0
    assert metrics["val/text/correctness"] == 1.0
    assert metrics["val/text/n"] == 1.0
    assert metrics["val/text/failed"] == 2.0
    assert metrics["val/text/failed_timeout"] == metrics["val/text/failed_crashed"] == 1.0


def test_wrong_format_is_a_score_not_a_failure():
    metrics = summarise([text_group("a", score(0.0, ScoreStatus.WRONG_FORMAT, format=0.0), score(1.0, format=1.0))])
    assert metrics["val/text/score"] == 0.5
    assert metrics["val/text/failed"] == 0.0


def test_a_task_whose_scores_all_failed_has_no_mean():
    metrics = summarise([text_group("a", failed())])
    assert "val/text/score" not in metrics
    assert "val/sums/score" not in metrics
    assert metrics["val/text/failed"] == 1.0


def test_a_source_with_the_name_of_a_task_leaves_the_key_to_the_task():
    groups = [text_group("a", score(1.0), source="text"), text_group("b", score(0.0), source="other")]
    assert summarise(groups)["val/text/score"] == 0.5


@given(st.lists(st.one_of(st.none(), st.floats(-3, 3)), min_size=1, max_size=8))
def test_the_mean_is_that_of_the_usable_values_alone(values: list[float | None]):
    metrics = summarise([text_group("a", *(failed() if value is None else score(value) for value in values))])
    usable = [value for value in values if value is not None]
    assert metrics["val/text/failed"] == len(values) - len(usable)
    assert metrics["val/text/n"] == len(usable)
    assert not usable or metrics["val/text/score"] == pytest.approx(math.fsum(usable) / len(usable), abs=1e-12)


class RecordingWorkers:
    """Answers every call with the same groups, and remembers how it was called."""

    def __init__(self, groups: list[Group]) -> None:
        self.groups = groups
        self.calls: list[tuple] = []

    def update_weights(self, learner: Learner, version: int) -> WeightRef:
        raise AssertionError("evaluation must not change the weights")

    def rollout_and_score(
        self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False
    ) -> list[Group]:
        self.calls.append((tuple(prompts), weights, seed, evaluate))
        return self.groups

    def timings(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None: ...


def test_evaluate_asks_for_held_out_sampling_at_the_given_weights():
    groups = [text_group("a", score(1.0))]
    workers, weights = RecordingWorkers(groups), WeightRef(7, "abc")
    evaluation = evaluate(workers, [groups[0].prompt], weights, seed=5)
    assert workers.calls == [((groups[0].prompt,), weights, 5, True)]
    assert evaluation.groups == tuple(groups)
    assert evaluation.metrics["val/text/score"] == 1.0

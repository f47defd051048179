"""Rollouts with hints: of a worker, and in a whole run. Over Ray: ``test_ray_runs``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cluster.learner.one_rank import FrozenLearner, make_learner
from cluster.run.preflight import Inputs, check_worked_answers
from cluster.workers.inline import InlineWorkers
from policies.generate import rollout_group
from rl.config import load_config
from rl.errors import DataError
from rl.tracking.mlflow.traces import _rollout
from rl.tracking.pages.film import Decoders, film
from rl.types import Message, Prompt, Score, Task, TextSampling
from tests.cluster.runs import make_config, run, same
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt, toy_understand_prompt

ON = ("rollout.hints.share=0.5", "rollout.hints.chunk=[1, 2]", "rollout.text.max_new_tokens=16", "rollout.text.steps=8")
WORKED = [replace(toy_text_prompt(index), solution="<think>3+4=7</think>7", hinted=2 + index) for index in range(2)] + [
    replace(toy_understand_prompt(1), reference="b", hinted=2)
]


def test_a_worker_gives_each_rollout_a_hint_of_its_own(home: Path) -> None:
    workers = InlineWorkers(make_config(home, *ON))
    weights = workers.update_weights(FrozenLearner(make_config(home)), 3)
    found = workers.rollout_and_score(WORKED, weights, seed=11)
    assert [len(group.rollouts) for group in found] == [2, 3, 2]
    for group in found:
        given = []
        for index, rollout in enumerate(group.rollouts):
            assert rollout.index == index and rollout.weight_version == 3
            span = slice(rollout.spans[0].start, rollout.spans[0].stop)
            assert (rollout.step_map[span] < 0).any() and (rollout.step_map[span] >= 0).any()
            assert np.array_equal(rollout.response_mask, rollout.step_map >= 0)
            given.append(tuple(np.flatnonzero(rollout.step_map[span] < 0)))
        assert len({rollout.seed for rollout in group.rollouts}) == len(group.rollouts)
        assert group.prompt.task != "text" or len(set(given)) > 1 or len(given) == 2
    alone = workers.rollout_and_score(WORKED[1:2], weights, seed=11)
    assert same(alone, found[1:2])  # whatever its neighbours


def test_a_run_counts_its_hints(home: Path) -> None:
    settings = make_config(
        home, *ON, "name=counted", "rollout.hints.below=100", "rollout.text.temperature=0", "learner.engine=torch"
    )
    _, recorder = run(settings, InlineWorkers(settings), make_learner(settings))
    logged = recorder.logged[1]
    assert logged["rollout/hints/all_wrong_before"] > 0
    assert logged["rollout/hints/all_wrong_after"] <= logged["rollout/hints/all_wrong_before"]


def test_pages_and_traces_show_what_was_given(home: Path) -> None:
    policy = toy_policy()
    token = policy.tokenizer.encode("7")[0]
    (rollout,) = rollout_group(policy, WORKED[0], TextSampling(8, 4, 4), [1], 0, [-1, token, token, *[-1] * 5])
    shown = film(Decoders(policy.tokenizer, policy.vocabulary.eos_id), rollout)
    assert shown["steps"][1:3] == [-1, -1] and min(shown["steps"][:1]) >= 0
    assert "2 tokens given" in shown["foot"]
    attributes = _rollout(rollout, Score(1.0), (0, 1), {})["attributes"]
    assert attributes["step_map"].split()[1:3] == ["-1", "-1"] and attributes["given"] == 2
    (plain,) = rollout_group(policy, WORKED[0], TextSampling(8, 4, 4), [1], 0)
    assert "given" not in _rollout(plain, Score(1.0), (0, 1), {})["attributes"]


def prompt(name: str, **fields) -> Prompt:
    return Prompt(f"rows/{name}", Task.TEXT, (Message("user", "1 + 1 ="),), **fields)


@pytest.mark.parametrize(
    ("override", "rows", "said"),
    [
        ("rollout.hints.share=0.5", [prompt("a", reference="2"), prompt("b")], "'rows/b' has no worked answer"),
        ("rollout.hints.share=0.5", [toy_draw_prompt(0)], "no row of data.train is answered in text"),
        ("learner.sft_rows=1", [prompt("a", reference="2")], "learner.sft_rows=1: no row"),
        ("learner.sft_rows=1", [toy_draw_prompt(0)], "learner.sft_rows=1: no row"),
    ],
)
def test_rows_that_have_nothing_to_give_are_found_before_a_run(override: str, rows: list[Prompt], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        check_worked_answers(load_config("tiny", [override]), Inputs((tuple(rows),), ()))
    assert "\n" not in str(caught.value)


def test_rows_that_have_something_to_give_pass() -> None:
    rows = (prompt("a", reference="2"), prompt("b", solution="<think>1</think>2"), toy_draw_prompt(0))
    check_worked_answers(load_config("tiny", ["rollout.hints.share=0.5", "learner.sft_rows=1"]), Inputs((rows,), ()))

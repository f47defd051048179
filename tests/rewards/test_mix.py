"""The registry, the mix's arithmetic, and what becomes of failures."""

import math
import subprocess
import sys
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.base import absent, failed
from rewards.mix import RewardMix, combine
from rewards.registry import load_reward
from rl.errors import RewardError
from rl.types import RewardCall, Score, ScoreStatus, Task
from tests.rewards.makers import text_item

PAPER = {"text": {"correctness": 2.0, "format": 0.5}, "understand": {"correctness": 2.0, "format": 0.5}}
RIGHT, UNFORMATTED, WRONG = "<think>3 + 4</think>7", "7", "<think>3 + 4</think>8"


class Counting:
    """A reward that notes its calls and returns what it was told."""

    name = "counting"
    calls: list = []
    answer = staticmethod(lambda items: [Score(1.0) for _ in items])

    def score(self, items):
        self.calls.append(len(items))
        return self.answer(items)


@pytest.fixture
def counting(monkeypatch, registered):
    registered(counting=f"{__name__}:Counting")
    monkeypatch.setattr(Counting, "calls", [])
    return monkeypatch


def test_the_papers_mix():
    items = [text_item(RIGHT), text_item(UNFORMATTED), text_item(WRONG), text_item("circle", "Circle", Task.UNDERSTAND)]
    scores = RewardMix(PAPER).score(items)
    assert [score.value for score in scores] == [2.5, 2.0, 0.5, 2.0]
    assert [score.status.value for score in scores] == ["ok", "wrong_format", "ok", "wrong_format"]
    assert scores[2].parts == {"correctness": 0.0, "format": 1.0}
    assert all(score.usable and score.seconds > 0 for score in scores)


def test_each_reward_is_called_once_with_all_its_items(counting):
    mix = RewardMix(
        {"text": {"counting": 1.0, "format": 1.0}, "understand": {"counting": 1.0}, "draw": {"format": 1.0}}
    )
    tasks = [Task.TEXT, Task.UNDERSTAND, Task.DRAW, Task.TEXT]
    scores = mix.score([text_item(RIGHT, task=task) for task in tasks])
    assert Counting.calls == [3]
    assert [score.value for score in scores] == [2.0, 1.0, 1.0, 2.0]
    assert mix.score([]) == []


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (lambda items: [failed(ScoreStatus.TIMEOUT, "late")] * len(items), "timeout", "counting: late"),
        (lambda items: 1 / 0, "crashed", "ZeroDivisionError"),
        (lambda items: [Score(1.0)], "invalid", "1 scores for 2 items"),
        (lambda items: None, "invalid", "no list"),
        (lambda items: [1.0] * len(items), "invalid", "counting: returned 1.0, not a Score"),
        (lambda items: [Score(cast(Any, "high"))] * len(items), "invalid", "not a Score"),
        (lambda items: [Score(math.inf)] * len(items), "invalid", "no finite value"),
    ],
)
def test_one_failed_reward_fails_the_item_and_is_never_a_zero(counting, answer, status, said):
    counting.setattr(Counting, "answer", staticmethod(answer))
    for score in RewardMix({"text": {"format": 0.5, "counting": 1.0}}).score([text_item(RIGHT)] * 2):
        assert score.status.value == status and said in score.detail and math.isnan(score.value)
        assert score.parts == {"format": 1.0}
    for score in RewardMix({"text": {"format": 0.5, "counting": 0}}).score([text_item(RIGHT)] * 2):
        assert (score.value, score.status, score.parts) == (0.5, ScoreStatus.OK, {"format": 1.0})


def test_each_reward_says_how_it_fared_and_a_retry_counts_its_first_attempt_too(counting):
    mix = RewardMix({"text": {"counting": 1.0, "format": 0.0}}, attempts=2)
    reward = Answers([failed(ScoreStatus.TIMEOUT, "slow", 3.0), Score(1.0, seconds=0.5)])
    mix.rewards["counting"] = reward
    (score,) = mix.score([text_item("x")])
    assert score.value == 1.0 and score.calls["counting"] == RewardCall(ScoreStatus.OK, 3.5)
    assert score.calls["format"].status is ScoreStatus.WRONG_FORMAT and score.calls["format"].seconds > 0
    mix.rewards["counting"] = Answers([failed(ScoreStatus.TIMEOUT, "slow", 3.0)] * 2)
    (score,) = mix.score([text_item("x")])
    assert score.calls["counting"] == RewardCall(ScoreStatus.TIMEOUT, 6.0) and math.isnan(score.value)


class Answers:
    """One score a call, in turn."""

    name = "counting"

    def __init__(self, scores):
        self.scores = list(scores)

    def score(self, items):
        return [self.scores.pop(0)]


def test_a_reward_that_says_nothing_about_a_row_is_left_out():
    scores = {"a": Score(1.0), "b": absent()}
    assert combine(scores, {"a": 2.0, "b": 1.0}).value == 2.0
    alone = combine({"b": absent()}, {"b": 1.0})
    assert alone.status is ScoreStatus.INVALID and not alone.usable


def test_a_recorded_reward_changes_neither_value_nor_status():
    score = combine({"a": Score(1.0), "b": Score(0.0, ScoreStatus.WRONG_FORMAT, {"x": 3.0})}, {"a": 2.0, "b": 0.0})
    assert (score.value, score.status) == (2.0, ScoreStatus.OK)
    assert score.parts == {"a": 1.0, "b": 0.0, "b/x": 3.0}


@given(st.dictionaries(st.sampled_from("abcde"), st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1))
def test_the_value_is_the_weighted_sum(pairs):
    score = combine({name: Score(value) for name, (value, _) in pairs.items()}, {k: w for k, (_, w) in pairs.items()})
    assert score.value == pytest.approx(float(np.dot(*np.asarray(list(pairs.values())).T)), abs=1e-9)
    assert score.parts == {name: value for name, (value, _) in pairs.items()}


def test_a_row_may_name_its_own_rewards():
    mix = RewardMix(PAPER)
    both, one, other = mix.score(
        [text_item(WRONG), text_item(WRONG, rewards=("format",)), text_item(WRONG, task=Task.DRAW, rewards=("format",))]
    )
    assert (both.value, one.value, other.value) == (0.5, 0.5, 1.0)
    (unknown,) = mix.score([text_item(WRONG, rewards=("formt",))])
    assert unknown.status is ScoreStatus.INVALID and "did you mean 'format'" in unknown.detail


def test_a_task_without_rewards_is_invalid_not_zero():
    (score,) = RewardMix(PAPER).score([text_item(RIGHT, task=Task.DRAW)])
    assert score.status is ScoreStatus.INVALID


@pytest.mark.parametrize(
    ("mix", "settings", "said"),
    [
        ({"text": {"corectness": 1.0}}, {}, "reward 'corectness': unknown; allowed: .*did you mean 'correctness'"),
        ({"text": {"format": "much"}}, {}, "weight format='much'; allowed: a finite number"),
        ({"text": {"format": math.nan}}, {}, "weight format=nan"),
        ({"text": {"format": 1.0}}, {"format": {"strict": True}}, "unknown setting 'strict'; allowed: none"),
        ({"text": {"format": 1.0}}, {"clp": {}}, "reward 'clp': unknown.*did you mean 'clip'"),
        ({"text": {"custom": 1.0}}, {}, "custom_reward_function.path"),
        ({"draw": {"clip": 0.1}}, {"clip": {"model": "ViT-B-23"}}, "did you mean 'ViT-B-32'"),
        ({"draw": {"clip": 0.1}}, {"clip": {"model": "ViT-B-32"}}, "also give pretrained"),
        ({"draw": {"big": 0.1}}, {"big": {"name": "clip", "model": "/no/such/folder"}}, "/no/such/folder"),
    ],
)
def test_mistakes_are_found_early_in_one_line(mix, settings, said):
    with pytest.raises(RewardError, match=said) as caught:
        RewardMix.check(mix, settings)
    assert "\n" not in str(caught.value)


def test_checking_loads_nothing_heavy():
    code = (
        "import sys; from rewards.mix import RewardMix\n"
        "mix = {'text': {'correctness': 2.0, 'format': 0.5}, 'draw': {'clip': 0.1, 'composition': 0.0}}\n"
        "RewardMix.check(mix, {'clip': {'model': 'ViT-B-32', 'pretrained': 'openai'}})\n"
        "heavy = {'torch', 'open_clip', 'transformers', 'sympy', 'ray'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_import_rewards_is_light_and_still_offers_its_names():
    code = (
        "import sys, rewards\n"
        "assert not {'rewards.math.verify', 'rewards.base', 'numpy'} & set(sys.modules)\n"
        "assert rewards.load_reward('format').name == 'format' and callable(rewards.verify_math)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_two_rewards_of_one_kind_with_settings_of_their_own():
    mix = RewardMix({"text": {"exact": 1.0, "correctness": 1.0}}, {"exact": {"name": "correctness", "kind": "exact"}})
    (score,) = mix.score([text_item("<think>a</think>7.0")])
    assert score.parts == {"exact": 0.0, "correctness": 1.0}


@settings(deadline=None)  # the first one loads a math verifier
@given(apart=st.sets(st.sampled_from(["correctness", "format", "length", "repetition"])))
def test_it_does_not_matter_which_rewards_are_scored_elsewhere(apart):
    """Not even for the last bit, or for which of two failures is told first."""
    mix = {"text": {"correctness": 2.0, "length": 0.1, "format": 0.5, "repetition": 0.3}}
    settings = {"length": {"longest": 12, "buffer": 8}}
    items = [text_item(RIGHT), text_item(UNFORMATTED), text_item(WRONG), text_item("<think>a</think>b b b b b b b b")]
    whole = RewardMix(mix, settings)
    here = RewardMix(mix, settings, elsewhere=apart)
    assert apart.isdisjoint(here.rewards)
    known = whole.parts(items, only=apart)
    assert all(set(scores) == apart for scores in known)
    found, expected = here.score(items, known), whole.score(items)
    assert [(s.value, s.status, s.detail, list(s.parts.items())) for s in found] == [
        (s.value, s.status, s.detail, list(s.parts.items())) for s in expected
    ]
    assert apart.isdisjoint(here.rewards)


def test_a_reward_that_failed_elsewhere_fails_the_item():
    mix = RewardMix(PAPER, elsewhere=["correctness"])
    (score,) = mix.score([text_item(RIGHT)], [{"correctness": failed(ScoreStatus.TIMEOUT, "scorer worker 0 hung")}])
    assert score.status is ScoreStatus.TIMEOUT and math.isnan(score.value)
    assert score.detail == "correctness: scorer worker 0 hung" and score.parts == {"format": 1.0}


def test_loading_by_name_and_mapping(registered):
    assert load_reward("format").name == "format"
    assert load_reward({"name": "composition", "dense": True}).dense is True  # type: ignore[attr-defined]
    for spec in ({}, {"dense": True}, "", {"name": 3}):
        with pytest.raises(RewardError, match="expected a name"):
            load_reward(spec)
    registered(gone="rewards.no_such_module:Gone")
    with pytest.raises(RewardError, match="cannot be imported"):
        load_reward("gone")

"""Curves, gates and standardisation within a group, and what becomes of failures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.base import absent, failed
from rewards.mix import RewardMix
from rewards.shaping import Shaping
from rl.config import build_config
from rl.config.rewards import FailureConfig
from rl.errors import ConfigError, RewardError
from rl.prepare import check_failures
from rl.tracking.failures import FailureNotes
from rl.types import Curve, Gate, Group, Score, ScoreStatus
from tests.rewards.makers import text_item

RIGHT, UNFORMATTED, WRONG = "<think>3 + 4</think>7", "7", "<think>3 + 4</think>8"
MIX = {"text": {"correctness": 2.0, "format": 0.5}}


class Flaky:
    """Fails for an item the first ``failures`` times."""

    name = "flaky"
    failures = 1

    def __init__(self) -> None:
        self.seen: list[str] = []

    def score(self, items):
        return [self._one(item.text) for item in items]

    def _one(self, text):
        self.seen.append(text)
        return failed(ScoreStatus.TIMEOUT, "late") if self.seen.count(text) <= self.failures else Score(1.0)


def test_format_gates_correctness():
    scores = RewardMix(MIX, shaping=Shaping(gates={"correctness": Gate("format")})).score(
        [text_item(RIGHT), text_item(UNFORMATTED), text_item(WRONG)]
    )
    assert [score.value for score in scores] == [2.5, 0.0, 0.5]
    assert scores[1].parts == {"correctness": 1.0, "format": 0.0}  # what was measured stays visible


def test_a_gate_without_a_value_is_closed():
    assert not Gate("format").opens({"format": absent()}) and not Gate("format").opens({})
    assert Gate("length", at_least=0.5).opens({"length": Score(0.5)})


def test_a_curve_scales_and_clamps():
    shaping = Shaping(curves={"correctness": Curve(scale=4.0, offset=-1.0, high=2.0, low=-0.5)})
    assert [score.value for score in RewardMix({"text": {"correctness": 1.0}}, shaping=shaping).score(
        [text_item(RIGHT), text_item(WRONG)]
    )] == [2.0, -0.5]  # fmt: skip


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8), st.floats(0.1, 1e3), st.floats(-1e3, 1e3))
def test_standardised_values_do_not_depend_on_a_rewards_scale(values, scale, offset):
    items = [text_item("x")] * len(values)
    shaping = Shaping(normalize=frozenset({"a"}))
    plain = shaping.values(items, [{"a": Score(value)} for value in values])
    moved = shaping.values(items, [{"a": Score(scale * value + offset)} for value in values])
    got = np.asarray([row["a"] for row in plain])
    if np.std(values) > 1e-2:
        assert got.mean() == pytest.approx(0.0, abs=1e-6) and got.std() == pytest.approx(1.0, abs=1e-6)
        assert [row["a"] for row in moved] == pytest.approx(got.tolist(), abs=1e-3)
    assert np.isfinite(got).all()


def test_each_group_is_standardised_by_itself_and_absent_values_stay_absent():
    first, second = text_item("x"), text_item("x", rewards=())
    object.__setattr__(second, "prompt", type(second.prompt)("other", second.prompt.task, second.prompt.messages))
    found = [{"a": Score(1.0)}, {"a": Score(3.0)}, {"a": Score(7.0)}, {"a": absent()}]
    values = Shaping(normalize=frozenset({"a"})).values([first, first, second, second], found)
    assert values == [{"a": -1.0}, {"a": 1.0}, {"a": 0.0}, {}]


@pytest.mark.parametrize(
    ("shaping", "said"),
    [
        (Shaping(normalize=frozenset({"corectness"})), "rewards.normalize: 'corectness' is in no mix.*'correctness'"),
        (Shaping(gates={"correctness": Gate("clip")}), "rewards.gates.correctness.by: 'clip' is in no mix"),
        (Shaping(curves={"format": Curve(low=1.0, high=0.0)}), "low=1 is above high=0"),
    ],
)
def test_mistakes_are_one_line(shaping, said):
    with pytest.raises(RewardError, match=said) as caught:
        RewardMix.check(MIX, shaping=shaping)
    assert "\n" not in str(caught.value)


def test_a_gate_must_be_in_each_mix_of_what_it_guards():
    mix = {"text": {"correctness": 1.0}, "understand": {"correctness": 1.0, "format": 1.0}}
    with pytest.raises(RewardError, match="add rewards.mix.text.format=0"):
        RewardMix.check(mix, shaping=Shaping(gates={"correctness": Gate("format")}))


@pytest.mark.parametrize(("attempts", "values"), [(1, [math.nan]), (2, [1.0]), (3, [1.0])])
def test_a_failed_score_is_tried_again_as_often_as_the_policy_says(registered, attempts, values):
    registered(flaky=Flaky)
    mix = RewardMix({"text": {"flaky": 1.0}}, attempts=attempts)
    scores = mix.score([text_item("a")])
    assert [score.value for score in scores] == pytest.approx(values, nan_ok=True)
    assert len(mix.rewards["flaky"].seen) == min(attempts, 2)  # type: ignore[attr-defined]


def test_the_run_ends_only_where_the_policy_says_so_and_the_line_says_why():
    prompt = text_item("x").prompt
    group = Group(prompt, (), (Score(1.0), failed(ScoreStatus.TIMEOUT, "judge: no result within 5 s")))
    check_failures([group], FailureConfig(action="drop"))
    check_failures([group], FailureConfig(action="fail", max_failed_share=0.5))
    with pytest.raises(RewardError, match="1 of a step's 2 scores failed, first: timeout: judge: no result within 5 s"):
        check_failures([group], FailureConfig(action="fail", max_failed_share=0.4))


def test_why_scores_failed_is_said_once_with_its_row(caplog):
    prompt = text_item("x").prompt
    bad = [failed(ScoreStatus.CRASHED, f"custom: my.py:3: 1 / 0: ZeroDivisionError (row {n})") for n in range(4)]
    late = failed(ScoreStatus.TIMEOUT, "judge: no result within 5 s")
    notes = FailureNotes()
    for _ in range(3):
        notes.tell([Group(prompt, (), (Score(1.0), *bad)), Group(prompt, (), (late,))])
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and all(f"at row {prompt.id}" in line and "5 of this step's 6" in line for line in said)
    assert "crashed" in said[0] and "my.py:3: 1 / 0: ZeroDivisionError" in said[0] and "timeout" in said[1]


def test_the_config_says_what_a_policy_may_be():
    config = build_config([("x", {"rewards": {"gates": {"correctness": {"by": "format"}}, "normalize": ["format"]}})])
    assert config.rewards.gates["correctness"].by == "format" and config.rewards.on_failure.action == "drop"
    with pytest.raises(ConfigError, match="rewards.on_failure.action='retri': allowed: drop, retry, fail"):
        build_config([("x", {"rewards": {"on_failure": {"action": "retri"}}})])

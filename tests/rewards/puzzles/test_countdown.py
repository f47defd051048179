"""Countdown: the rule, exactly, and nothing evaluated."""

import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.base import is_absent
from rewards.puzzles.countdown import CountdownSettings, problem, puzzle_of, read_expression
from rewards.registry import load_reward
from rl.errors import RewardError
from rl.types import Message, Prompt, RewardItem, ScoreStatus, Task


def prompt(reference=None, truth=None, **metadata):
    return Prompt("p", Task.TEXT, (Message("user", "?"),), reference=reference, metadata=metadata, ground_truth=truth)


def score(text, attempt=0.0, **row):
    row = row or {"numbers": [2, 3, 4], "target": 5}
    return load_reward({"name": "countdown", "attempt": attempt}).score([RewardItem(prompt(**row), text)])[0]


@pytest.mark.parametrize(
    "answer",
    ["2*4-3", " ( 2 * 4 ) - 3 \n", "-(3-2*4)", "4*2-3", "2 * (4) - +3", "((2))*4-3", "02*4-3"],
)
def test_right_in_each_form_of_response(answer):
    assert score(f"<think>4 * 2 = 8, less 3</think>{answer}").value == 1.0
    assert score(f"<reasoning>8 less 3</reasoning>\n<answer>\n{answer}\n</answer>").value == 1.0
    assert score(answer).value == 1.0


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("2*3-4", "its value is 2, not 5"),
        ("5", r"it uses \[5\] in place"),
        ("2*4-3+0", "it uses"),
        ("2+3", "it uses"),
        ("2*4-3+2-2", "it uses"),
        ("2**4-3*4", "unexpected"),
        ("4//2+3", "unexpected"),
        ("2*4-3=5", "unexpected"),
        ("2*4.0-3", "unexpected"),
        ("2(4)-3", "unexpected"),
        ("2/(4-4)*3", "divides by zero|it uses"),
        ("(2*4-3", "a bracket is not closed"),
        ("__import__('os')", "unexpected"),
        ("(" * 300 + "2", "too deep"),
        ("2" * 500, "too long"),
        ("²*4-3", "unexpected"),
        ("٢*4-3", "unexpected"),
    ],
)
def test_wrong_says_why_and_gets_what_an_attempt_is_worth(answer, why):
    found = score(f"<think>so</think>{answer}")
    assert found.value == 0.0 and found.status is ScoreStatus.OK
    assert re.search(why, found.detail), found.detail
    assert score(f"<think>so</think>{answer}", attempt=0.1).value == 0.1


def test_division_is_exact():
    assert problem("1/3*3", [1, 3, 3], 1) == ""
    assert problem("(8/(3-8/3))", [8, 3, 8, 3], 24) == ""  # 1/3 as a binary fraction would miss it
    assert "its value is" in problem("1/3", [1, 3], 0)


def test_no_answer_is_wrong_format():
    for text in ("<think>never closed", "", "<think>x</think>", "<answer></answer>"):
        found = score(text, attempt=0.1)
        assert found.value == 0.0 and found.status is ScoreStatus.WRONG_FORMAT


@pytest.mark.parametrize(
    "row",
    [
        {"numbers": [2, 3, 4], "target": 5},
        {"numbers": "[2, 3, 4]", "target": "5"},
        {"nums": [2, 3, 4], "target": 5},
        {"extra_info": {"numbers": "[2, 3, 4]"}, "reference": "5"},
        {"truth": {"numbers": [2, 3, 4], "target": 5}},
        {"numbers": "2,3,4", "reference": "5"},
        {"numbers": [2.0, 3.0, 4.0], "target": 5.0},
    ],
)
def test_published_columns(row):
    assert puzzle_of(prompt(**row)) == ([2, 3, 4], 5)
    assert score("2*4-3", **row).value == 1.0


def test_rows_without_a_puzzle_and_with_a_broken_one():
    assert is_absent(score("2*4-3", reference="5"))
    rules = CountdownSettings
    assert "expected whole numbers" in rules.refuses(prompt(numbers=[2, "x"], target=5))
    assert "expected whole numbers" in rules.refuses(prompt(numbers=[2, 3]))
    assert rules.refuses(prompt(numbers=[2, 3], target=5)) == "" == rules.refuses(prompt())


def test_attempt_is_below_a_right_answer():
    with pytest.raises(RewardError, match="attempt=1.5; allowed: from 0 to below 1"):
        load_reward({"name": "countdown", "attempt": 1.5})


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="0123456789+-*/() ex.^!\\", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        value, used = read_expression(text)
    except (ValueError, ZeroDivisionError):
        return
    assert value == eval(_fractions(text), {"Fraction": Fraction}) and used


def _fractions(text):
    """The same expression in Python's own exact arithmetic, in this test alone."""
    return re.sub(r"[0-9]+", lambda match: f"Fraction({int(match[0])})", text.strip())

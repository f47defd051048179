"""Which comparison a reference asks for, and what counts as an answer."""

import pytest

from rewards.correctness import is_exact
from rewards.registry import load_reward
from rl.errors import RewardError
from rl.types import ScoreStatus, Task
from tests.rewards.makers import text_item

GRID = "4321123421433412"


def value(text, reference, **prompt):
    (score,) = load_reward("correctness").score([text_item(text, reference, **prompt)])
    assert score.usable
    return score.value


def test_a_grid_must_be_the_same_digits():
    assert value(f"<think>rows</think>\n{GRID}\n", GRID) == 1.0
    assert value(f"<think>rows</think>{GRID[:-1]}1", GRID) == 0.0
    assert value("<think>rows</think>0" + GRID, GRID) == 0.0  # equal as numbers
    assert value(f"<think>rows</think>{GRID}.0", GRID) == 0.0


def test_words_are_compared_without_case_and_blanks():
    assert value("<think>it looks round</think> Circle.", "circle", task=Task.UNDERSTAND) == 1.0
    assert value("<think>it looks round</think>circles", "circle", task=Task.UNDERSTAND) == 0.0
    assert value("<think>yes</think>no", "yes", task=Task.UNDERSTAND) == 0.0


@pytest.mark.parametrize(
    ("answer", "right"), [("7", 1.0), ("7.0", 1.0), (r"\boxed{7}", 1.0), ("14/2", 1.0), ("8", 0.0)]
)
def test_numbers_are_compared_as_numbers(answer, right):
    assert value(f"<think>3 + 4 = 7</think>{answer}", "7") == right


@pytest.mark.parametrize("echo", ["3 + 4", "3+4", "(3+4)", r"2^{3}-1", r"7 \cdot 1", "10-3", "x = 3+4"])
def test_a_sum_that_is_not_worked_out_is_not_an_answer(echo):
    assert value(f"<think>a</think>{echo}", "7") == 0.0


def test_the_thought_is_never_the_answer():
    assert value("<think>7</think>9", "7") == 0.0
    (open_thought, nothing) = load_reward("correctness").score([text_item("<think>7"), text_item("<think>7</think> ")])
    for score in (open_thought, nothing):
        assert score.value == 0.0 and score.status is ScoreStatus.WRONG_FORMAT


def test_a_row_without_a_reference_is_invalid_and_named():
    (score,) = load_reward("correctness").score([text_item("7", reference=None)])
    assert score.status is ScoreStatus.INVALID and "row/1" in score.detail and not score.usable


def test_which_references_are_exact():
    assert all(map(is_exact, (GRID, "1_23_41__21433412", "1..23...41..2143")))
    numbers = ("123456789012", "2432902008176640000", "3.14159265358979", "1111222233339999")
    assert not any(
        map(is_exact, ("7", "1/2", "x", r"\sqrt{2}", "7 cm", "(B)", "circle", "light blue", " yes ", *numbers))
    )


def test_a_marked_grid_is_the_grid():
    assert value(rf"<think>rows</think>\boxed{{{GRID}}}", GRID) == 1.0


def test_settings_are_checked():
    with pytest.raises(RewardError, match="kind='fuzzy'; allowed: auto, exact, math"):
        load_reward({"name": "correctness", "kind": "fuzzy"})
    with pytest.raises(RewardError, match="unknown setting 'dead_line_s'.*did you mean 'deadline_s'"):
        load_reward({"name": "correctness", "dead_line_s": 2})


@pytest.mark.parametrize(
    ("settings", "text", "reference", "value"),
    [
        ({"tolerance": 0.01}, "<think>x</think>3.14", r"\frac{22}{7}", 1.0),
        ({}, "<think>x</think>3.14", r"\frac{22}{7}", 0.0),
        ({"units": "required"}, "<think>x</think>5", r"5\text{ cm}", 0.0),
        ({"units": "ignored"}, r"<think>x</think>5\text{ kg}", r"5\text{ cm}", 1.0),
        ({"percent": "strict"}, "<think>x</think>50", r"50\%", 0.0),
        ({"percent": "strict"}, "<think>x</think>0.5", r"50\%", 1.0),
        ({"extract": ["boxed"]}, "<think>x</think>7", "7", 0.0),
        ({"extract": ["boxed", "last_number"]}, "<think>x</think>it is 7", "7", 1.0),
    ],
)
def test_rules_and_marks_are_the_users_choice(settings, text, reference, value):
    (score,) = load_reward({"name": "correctness", "kind": "math", **settings}).score([text_item(text, reference)])
    assert score.value == value


@pytest.mark.parametrize(
    "settings", [{"extract": ["box"]}, {"units": "no"}, {"percent": "x"}, {"tolerance": 1.0}, {"kind": "x"}]
)
def test_a_setting_that_is_no_choice_is_one_line(settings):
    with pytest.raises(RewardError, match="allowed: "):
        load_reward({"name": "correctness", **settings})

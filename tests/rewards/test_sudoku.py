"""Sudoku by its rules, and d1's share of filled cells."""

from hypothesis import given
from hypothesis import strategies as st

from rewards.base import is_absent
from rewards.registry import load_reward
from rewards.sudoku import filled_cells, solves
from rl.types import Message, Prompt, RewardItem, Task

SOLUTION = "4321123434122143"
PUZZLE = "0321003004002100"


def item(text: str, **metadata) -> RewardItem:
    prompt = Prompt("p", Task.TEXT, (Message("user", PUZZLE),), reference=SOLUTION, metadata=metadata)
    return RewardItem(prompt, text)


def score(text: str):
    return load_reward("sudoku").score([item(text, puzzle=PUZZLE)])[0]


def test_the_solution_counts_and_a_broken_rule_or_clue_does_not():
    assert score(f"<think>x</think>{SOLUTION}").value == 1.0
    assert score(f"<think>x</think>{SOLUTION[:8]} {SOLUTION[8:]}").value == 1.0
    assert score("<think>x</think>4321123434122134").value == 0.0  # a column twice
    assert score("<think>x</think>1234341221434321").value == 0.0  # a valid grid, but not of this puzzle
    assert score("<think>x</think>432112343412214").value == 0.0
    assert score("<think>never closed " + SOLUTION).value == 0.0


@given(st.text(alphabet="01234x", max_size=20))
def test_nothing_else_is_a_solution_of_a_full_grid(answer):
    assert solves(SOLUTION, answer) == (answer == SOLUTION)


def test_a_puzzle_with_two_solutions_takes_either():
    first, second = "1234341221434321", "1234341243212143"
    puzzle = "1234341200000000"
    assert solves(puzzle, first) and solves(puzzle, second)


def test_share_of_blanks_filled():
    assert filled_cells("0320", "4321", "4321") == 1.0
    assert filled_cells("0320", "4321", "4322") == 0.5
    assert filled_cells("0320", "4321", "4") == 0.5
    assert filled_cells("0320", "4321", "") == 0.0
    assert score("<think>x</think>" + SOLUTION).parts["cells"] == 1.0


def test_the_share_of_blanks_is_a_reward_of_its_own():
    row = item(f"<think>x</think>1{SOLUTION[1:]}", puzzle=PUZZLE)
    assert load_reward("sudoku_cells").score([row])[0].value == 1 - 1 / PUZZLE.count("0")


def test_other_rows_have_no_such_reward():
    for name in ("sudoku", "sudoku_cells"):
        assert is_absent(load_reward(name).score([item("<think>a</think>7")])[0])

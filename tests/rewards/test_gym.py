"""reasoning-gym's verifiers in the child: right, wrong, hostile, and the ones that accept anything."""

import pytest
import reasoning_gym

from rewards.base import is_absent
from rewards.registry import load_reward
from rl.types import Message, Prompt, RewardItem, Task
from tests.rewards.makers import text_item

NAMES = ("basic_arithmetic", "string_insertion", "spiral_matrix", "countdown", "mini_sudoku", "prime_factorization")


@pytest.fixture(scope="module")
def reward():
    return load_reward({"name": "reasoning_gym", "deadline_s": 20.0})


def item(name, text=None, **metadata):
    entry = reasoning_gym.create_dataset(name, size=1, seed=7)[0]
    row = Prompt(
        name,
        Task.TEXT,
        (Message("user", entry["question"]),),
        reference=entry["answer"],
        metadata=metadata or entry["metadata"],
    )
    return RewardItem(row, entry["answer"] if text is None else text)


@pytest.mark.parametrize("name", NAMES)
def test_the_rows_own_answer_is_right_and_another_is_not(reward, name):
    right, tagged, wrong = reward.score(
        [
            item(name),
            item(name, f"<think>so</think><answer>{item(name).text}</answer>"),
            item(name, "<think>so</think>certainly wrong"),
        ]
    )
    assert [right.value, tagged.value, wrong.value] == [1.0, 1.0, 0.0], (right, tagged, wrong)


def test_code_in_an_answer_meets_no_process_of_ours(reward, tmp_path):
    canary = tmp_path / "canary"
    hostile = f"__import__('pathlib').Path({str(canary)!r}).write_text('x')"
    for name in ("string_insertion", "spiral_matrix", "binary_matrix", "countdown"):
        (score,) = reward.score([item(name, hostile)])
        assert score.value != 1.0
    assert not canary.exists()


def test_a_verifier_that_accepts_anything_is_refused(reward):
    (score,) = reward.score([item("game_of_life_halting", "whatever")])
    assert score.status.value == "invalid" and "nonsense" in score.detail


def test_partial_marks_only_where_asked_for(reward):
    close = item("basic_arithmetic", "about")
    (strict,) = reward.score([close])
    assert strict.value == 0.0 and strict.parts["mark"] <= 0.01


def test_rows_of_others_and_unknown_data_sets(reward):
    assert is_absent(reward.score([text_item("7")])[0])
    (score,) = reward.score([item("basic_arithmetic", source_dataset="no_such_thing")])
    assert score.status.value == "invalid" and "no_such_thing" in score.detail
    (unfinished,) = reward.score([item("basic_arithmetic", "<think>hm")])
    assert unfinished.status.value == "wrong_format"

"""The user's own function: both signatures, sync and async, and a clear line for each mistake."""

import asyncio
import math
from pathlib import Path

import pytest

from rewards import load_reward
from rewards.base import is_absent
from rewards.mix import RewardMix
from rl.errors import RewardError
from rl.types import ScoreStatus
from tests.rewards.makers import text_item

ITEMS = [text_item("<think>a</think>7", metadata={"level": 1}), text_item("<think>a</think>8", metadata={"hint": "x"})]
EXAMPLE = str(Path(__file__).parents[2] / "examples" / "custom_reward.py")


@pytest.fixture
def write(tmp_path):
    def write(body, name="reward"):
        path = tmp_path / "mine.py"
        path.write_text(body)
        return load_reward(f"{path}:{name}")

    return write


def test_the_example_runs_in_each_way_in():
    items = [text_item("<think>a</think>7"), text_item("<think>a</think>" + "no " * 30)]
    assert [score.value for score in load_reward(f"{EXAMPLE}:reward").score(items)] == [1.0, 0.0]
    by_mapping = load_reward({"name": "custom", "path": EXAMPLE})
    assert [score.value for score in by_mapping.score(items)] == [1.0, 0.0]
    mix = RewardMix({"text": {"custom": 2.0, "format": 0.5}}, custom={"path": EXAMPLE, "name": "reward"})
    assert [score.value for score in mix.score(items)] == [2.5, 0.5]


def test_trls_signature_sees_the_batch_and_the_columns_it_names(write):
    reward = write(
        "def reward(prompts, completions, level, references, **columns):\n"
        "    assert prompts == ['Calculate 3 + 4.'] * 2 and level == [1, None] and columns['hint'] == [None, 'x']\n"
        "    return [1.0 if r in c else None for r, c in zip(references, completions)]\n"
    )
    right, other = reward.score(ITEMS)
    assert right.value == 1.0 and is_absent(other) and right.seconds > 0


def test_a_function_without_a_catch_all_gets_only_what_it_names(write):
    assert [
        score.value for score in write("def reward(completions): return [len(c) for c in completions]").score(ITEMS)
    ] == [17.0, 17.0]


def test_verls_signature_sees_one_response(write):
    reward = write(
        "def compute_score(data_source, solution_str, ground_truth, extra_info):\n"
        "    assert extra_info['id'] == 'row/1'\n"
        "    return {'score': float(ground_truth in solution_str), 'length': len(solution_str)}\n",
        "compute_score",
    )
    right, wrong = reward.score(ITEMS)
    assert (right.value, wrong.value, right.parts) == (1.0, 0.0, {"length": 17.0})


ASYNC = (
    "import asyncio\nasync def reward(completions, **columns):\n"
    "    await asyncio.sleep(0)\n    return [2.0] * len(completions)\n"
)


def test_async_functions_work_inside_and_outside_of_a_running_loop(write):
    reward = write(ASYNC)
    assert [score.value for score in reward.score(ITEMS)] == [2.0, 2.0]

    async def within():
        return reward.score(ITEMS)

    assert [score.value for score in asyncio.run(within())] == [2.0, 2.0]


def test_keyword_arguments_of_the_config_are_passed_on(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def reward(completions, scale, **columns): return [scale] * len(completions)\n")
    custom = {"path": str(path), "name": "reward", "reward_kwargs": {"scale": 3.0}}
    assert RewardMix({"text": {"custom": 1.0}}, custom=custom).score(ITEMS)[0].value == 3.0


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("return [1.0]", "invalid", "returned 1 values for 2 completions"),
        ("return None", "invalid", "returned None, not a list of 2 numbers"),
        ("return 1.0", "invalid", "returned a float, not a list"),
        ("import numpy; return numpy.ones((2, 1))", "invalid", "return values.reshape(-1)"),
        ("return [float('nan')] * 2", "invalid", "returned nan for row row/1"),
        ("return ['1.0'] * 2", "invalid", "returned a str for row row/1, not a number or None"),
        ("import torch; return [torch.ones(1)] * 2", "invalid", "returned a Tensor"),
        ("return [len(c) / 0 for c in completions]", "crashed", "ZeroDivisionError: division by zero"),
        ("raise SystemError", "crashed", "SystemError"),
    ],
)
def test_each_mistake_has_its_status_and_its_line(write, body, status, said):
    reward = write(f"def reward(completions, **columns):\n    {body}\n")
    for score in reward.score(ITEMS):
        assert score.status.value == status and said in score.detail and math.isnan(score.value)
        assert "mine.py" in score.detail and "\n" not in score.detail


def test_an_exception_shows_the_users_own_line_even_from_deep_in_a_library(write):
    reward = write(
        "import json\n\ndef reward(completions, **columns):\n    return [json.loads(c) for c in completions]\n"
    )
    (score, _) = reward.score(ITEMS)
    assert "mine.py:4: return [json.loads(c) for c in completions]: JSONDecodeError" in score.detail


def test_one_bad_item_does_not_take_the_others_with_it(write):
    good, bad = write("def reward(completions): return [1.0, 'x']").score(ITEMS)
    assert good.value == 1.0 and bad.status is ScoreStatus.INVALID
    body = "def f(data_source, solution_str, ground_truth, extra_info): return 1 / (solution_str[-1] == '7')"
    good, bad = write(body, "f").score(ITEMS)
    assert good.value == 1.0 and bad.status is ScoreStatus.CRASHED and "row row/1" in bad.detail


def test_a_column_that_no_row_has_is_named_with_those_that_exist(write):
    (score, _) = write("def reward(completions, answers): return [0.0]").score(ITEMS)
    assert score.status is ScoreStatus.CRASHED and "'answers'" in score.detail and "references" in score.detail


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (None, "reward", "no such file"),
        ("def rewrad(completions): return []", "reward", "no function 'reward'; did you mean 'rewrad'"),
        ("def reward(:\n", "reward", "mine.py:1: SyntaxError"),
        ("reward = 3", "reward", "reward is an int, not a function"),
        ("import no_such_module_at_all\ndef reward(): pass", "reward", "mine.py:1: import no_such_module_at_all"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(tmp_path, text, name, said):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RewardError, match=said) as caught:
        load_reward(f"{path}:{name}")
    assert "\n" not in str(caught.value)


def test_checking_does_not_run_the_users_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("raise RuntimeError('ran')\ndef reward(completions): return []\n")
    RewardMix.check({"text": {"custom": 1.0}}, custom={"path": str(path), "name": "reward"})
    with pytest.raises(RewardError, match="no function 'other'"):
        RewardMix.check({"text": {"custom": 1.0}}, custom={"path": str(path), "name": "other"})

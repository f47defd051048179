"""A custom function in its own child: what would take a worker with it costs one batch, and has its line."""

import math
from pathlib import Path

import pytest

from rewards import load_reward
from rewards.custom import IsolatedFunction
from rewards.mix import RewardMix
from rewards.sandbox.parent import Outcome
from rl.errors import RewardError
from rl.types import ScoreStatus
from tests.rewards.makers import text_item

EXAMPLE = str(Path(__file__).parents[3] / "examples" / "custom_reward.py")
ITEMS = [text_item("<think>a</think>7"), text_item("<think>a</think>8")]


def isolated(path, function="reward", **settings):
    return load_reward({"name": "custom", "path": str(path), "function": function, "isolate": True, **settings})


def test_the_example_scores_the_same_in_a_child_and_through_the_config():
    assert [score.value for score in isolated(EXAMPLE).score(ITEMS)] == [1.0, 0.5]
    custom = {"path": EXAMPLE, "name": "reward", "isolate": True, "deadline_s": 20.0, "memory_mb": 1024}
    assert [score.value for score in RewardMix({"text": {"custom": 2.0}}, custom=custom).score(ITEMS)] == [2.0, 1.0]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("sum(1 for _ in iter(int, 1))", "timeout", "mine.py:reward: no result within 0.3 s"),
        ("import os; os._exit(3)", "crashed", "mine.py:reward: the process ended with exit code 3"),
        ("import sys; sys.exit(4)", "crashed", "SystemExit: 4"),
        ("x = bytearray(4 << 30)", "crashed", "mine.py:2: x = bytearray(4 << 30); return [1.0] * 2: MemoryError"),
        ("import os; os.kill(os.getpid(), 11)", "crashed", "signal 11"),
        ("return [1.0]", "invalid", "returned 1 values for 2 completions"),
        ("return None", "invalid", "returned None"),
        ("return ['1'] * 2", "invalid", "returned a str"),
        ("return [float('nan')] * 2", "invalid", "returned nan"),
        ("1 / 0", "crashed", "ZeroDivisionError"),
    ],
)
def test_each_mistake_has_its_line_and_the_next_batch_is_scored(tmp_path, body, status, said):
    path = tmp_path / "mine.py"
    path.write_text(f"def reward(completions, **columns):\n    {body}; return [1.0] * 2\n")
    reward = isolated(path, deadline_s=0.3 if "iter(int" in body else 20.0)
    for _ in range(2):
        for score in reward.score(ITEMS):
            assert score.status.value == status and said in score.detail and math.isnan(score.value), score.detail
            assert "\n" not in score.detail


def test_what_it_prints_is_logged(tmp_path, caplog):
    path = tmp_path / "mine.py"
    path.write_text("def reward(completions): print('hello'); return [0.0] * len(completions)\n")
    with caplog.at_level("INFO"):
        isolated(path).score(ITEMS)
    assert "mine.py:reward prints: hello" in caplog.text


def test_a_file_that_fails_when_it_is_loaded_is_one_line(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import no_such_module_here\ndef reward(completions): return []\n")
    with pytest.raises(RewardError, match="mine.py:1: import no_such_module_here"):
        isolated(path)


def test_it_cannot_see_this_process_environment_or_write_files(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "x")
    path = tmp_path / "mine.py"
    path.write_text(
        "import contextlib, os\ndef reward(completions):\n"
        f"    with contextlib.suppress(OSError), open({str(tmp_path / 'canary')!r}, 'w') as file:\n"
        "        file.write('x')\n"
        "    return [float('MY_SECRET' in os.environ)] * len(completions)\n"
    )
    assert [score.value for score in isolated(path).score(ITEMS)] == [0.0, 0.0]
    assert not (tmp_path / "canary").exists()


def test_it_can_write_temporary_files_as_importing_torch_does(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import os, tempfile\n"
        "with open(os.devnull, 'w') as nowhere: nowhere.write('x')\n"
        "def reward(completions):\n"
        "    with tempfile.TemporaryDirectory() as folder, open(folder + '/a', 'w') as file: file.write('x' * 9)\n"
        "    return [1.0] * len(completions)\n"
    )
    assert [score.value for score in isolated(path).score(ITEMS)] == [1.0] * len(ITEMS)


@pytest.mark.parametrize(
    "value",
    [
        None, [], {}, {"scores": None, "printed": ""}, {"scores": [], "printed": ""}, {"scores": [1, 2], "printed": ""},
        {"scores": [{"value": 10**400, "status": "ok", "parts": {}, "detail": ""}] * 2, "printed": ""},
        {"scores": [{"value": 1.0, "status": "paid", "parts": {}, "detail": ""}] * 2, "printed": ""},
        {"scores": [{"value": 1.0, "status": "ok", "parts": {}, "detail": ""}] * 3, "printed": ""},
    ],
)  # fmt: skip
def test_what_a_child_sends_that_is_no_scores_is_a_crash(value):
    child = type("Child", (), {"call": lambda *_: Outcome(ScoreStatus.OK, value), "close": lambda _: None})
    reward = IsolatedFunction.__new__(IsolatedFunction)
    reward.label, reward.deadline_s, reward._what = "mine.py:reward", 1.0, {}
    reward.__dict__["_child"] = child()
    found = reward.score(ITEMS)
    assert [score.status.value for score in found] == ["crashed"] * len(ITEMS) and "not one score" in found[0].detail

"""Runs whose reward cannot score anything: one line, and an exit code that is not 0."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.cli.app import app
from cluster.doctor import machine
from cluster.doctor.check import State
from tests.cluster.recipe import write_recipe
from tests.wide import wide

BROKEN = {
    "raises": "def reward(completions):\n    return [1 / 0 for c in completions]\n",
    "leaves": "import sys\ndef reward(completions):\n    sys.exit('no key')\n",
    "a dict without score": "def reward(solution_str):\n    return {'reward': 1.0}\n",
    "nan": "def reward(completions):\n    return [float('nan')] * len(completions)\n",
    "too large": "def reward(completions):\n    return [10**400] * len(completions)\n",
    "chat messages": "def reward(completions):\n    return [c[0]['content'] for c in completions]\n",
    "a count": "def reward(completions):\n    return [1.0] * (len(completions) + 1)\n",
    "none for all": "def reward(completions):\n    return [None] * len(completions)\n",
}
# One evaluation each: what comes back or does not, in TRL's shape and in verl's.
MORE = {
    "returns nothing": "def reward(completions):\n    pass\n",
    "texts": "def reward(completions):\n    return ['1.0' for c in completions]\n",
    "one number": "def reward(completions):\n    return 1.0\n",
    "infinity": "def reward(completions):\n    return [float('inf')] * len(completions)\n",
    "complex": "def reward(completions):\n    return [1j] * len(completions)\n",
    "a list a row": "def reward(completions):\n    return [[1.0]] * len(completions)\n",
    "a column too many": "import numpy\ndef reward(completions):\n    return numpy.ones((len(completions), 1))\n",
    "none left": "def reward(completions):\n    return []\n",
    "a mapping": "def reward(completions):\n    return {c: 1.0 for c in completions}\n",
    "an unknown argument": "def reward(completions, gold):\n    return [float(c == gold) for c in completions]\n",
    "an import inside": "def reward(completions):\n    import no_such_thing_x\n",
    "a missing file": "def reward(completions):\n    return [float(open('/no/such').read())] * len(completions)\n",
    "an assertion": "def reward(completions):\n    assert not completions\n",
    "of verl: none": "def compute(solution_str, ground_truth):\n    return None\nreward = compute\n",
    "of verl: a text": "def reward(solution_str, ground_truth):\n    return 'good'\n",
    "of verl: score None": "def reward(solution_str, ground_truth):\n    return {'score': None}\n",
    "of verl: an int of the answer": "def reward(solution_str, ground_truth):\n    return int('x' + solution_str)\n",
    "async": "async def reward(completions):\n    raise TimeoutError('the server is away')\n",
}
NEVER_BEFORE = ("val_before_train=false", "val_after_train=false", "test_freq=0")


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_recipe(tmp_path, cluster={"mode": "inline"}, output_dir="runs")


def unigrpo(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def last_line(result: Result) -> str:
    """The one line of the end; the warnings before it say each reason once."""
    *before, last = result.stderr.splitlines()
    assert all(line.startswith("warning: ") for line in before), result.stderr
    return last


@pytest.mark.parametrize("name", wide(BROKEN, 5))
@pytest.mark.parametrize("command", ["train", "eval"])
def test_the_evaluation_before_training_ends_it(name: str, command: str, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "my_reward.py").write_text(BROKEN[name])
    result = unigrpo(command, "--recipe", recipe)
    assert result.exit_code == 1
    said = last_line(result)
    assert said.startswith("error: rewards: ") and " failed for all 4 scores of the evaluation " in said
    assert "each time as " in said and ("my_reward.py" in said or "no reward applies to this row" in said)
    assert not list(tmp_path.rglob("summary.json"))


@pytest.mark.parametrize("name", wide(MORE, 6))
def test_whatever_it_is_that_never_scores_ends_an_evaluation(name: str, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "my_reward.py").write_text(MORE[name])
    result = unigrpo("eval", "--recipe", recipe)
    said = last_line(result)
    assert result.exit_code == 1 and said.startswith("error: rewards: "), said
    assert " failed for all 4 scores of the evaluation " in said and "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("summary.json"))


def test_without_an_evaluation_the_first_three_steps_end_it(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "my_reward.py").write_text(BROKEN["raises"])
    result = unigrpo("train", "--recipe", recipe, "steps=9", *NEVER_BEFORE)
    said = last_line(result)
    assert result.exit_code == 1 and "the reward 'custom' failed for all 12 scores of the first 3 steps" in said
    assert "ZeroDivisionError: division by zero" in said and "unigrpo rewards check" in said


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_of_fewer_steps_does_not_end_well_either(steps: int, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "my_reward.py").write_text(BROKEN["raises"])
    result = unigrpo("train", "--recipe", recipe, f"steps={steps}", *NEVER_BEFORE)
    assert result.exit_code == 1 and f"failed for all {4 * steps} scores of " in last_line(result)


@pytest.mark.parametrize(
    ("policy", "code", "said"),
    [
        ("{action: drop}", 1, "the first 3 steps"),
        ("{action: retry, attempts: 2}", 1, "the first 3 steps"),
        ("{action: fail}", 2, "4 of a step's 4 scores failed"),
    ],
)
def test_each_failure_policy_has_its_end(policy: str, code: int, said: str, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "my_reward.py").write_text(BROKEN["raises"])
    result = unigrpo("train", "--recipe", recipe, "steps=9", f"rewards.on_failure={policy}", *NEVER_BEFORE)
    assert result.exit_code == code and said in last_line(result)


def test_a_reward_without_a_weight_may_fail_for_ever(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "my_reward.py").write_text(BROKEN["raises"])
    mix = "{text: {custom: 0.0, length: 1.0}}"
    settings = (
        f"rewards.mix={mix}",
        f"evaluation.mix={mix}",
        "rewards.settings={length: {longest: 6, buffer: 4, unit: characters}}",
    )
    result = unigrpo("train", "--recipe", recipe, "steps=4", *settings)
    assert result.exit_code == 0, result.output + result.stderr


def test_a_helper_beside_the_file_is_at_hand_in_a_run(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "my_helper.py").write_text("def count(text):\n    return len(set(text)) / 10\n")
    (tmp_path / "my_reward.py").write_text("import my_helper\ndef reward(completions): return map_all(completions)\n"
                                           "def map_all(texts): return [my_helper.count(text) for text in texts]\n")  # fmt: skip
    assert unigrpo("rewards", "check", "my_reward.py:reward").exit_code == 0
    for isolate in ("false", "true"):
        result = unigrpo(
            "train", "--recipe", recipe, "steps=1", f"name={isolate}", f"custom_reward_function.isolate={isolate}"
        )
        assert result.exit_code == 0, result.output + result.stderr


@pytest.mark.parametrize(
    "text", ["import sys\nsys.exit(0)\ndef reward(completions): pass\n", "import no_such_x\ndef reward(c): pass\n"]
)
def test_a_file_that_cannot_be_loaded_is_exit_2(text: str, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "my_reward.py").write_text(text)
    result = unigrpo("train", "--recipe", recipe)
    assert result.exit_code == 2 and re.fullmatch(r"error: .*my_reward.py:\d: .*", last_line(result))


@pytest.mark.long
@pytest.mark.parametrize(
    ("files", "good", "said"),
    [
        ({"torchvision/__init__.py": "raise RuntimeError('no torchvision::nms')\n"}, False, "RuntimeError: no torchvision::nms"),
        ({"torchvision/__init__.py": "import os; os._exit(9)\n"}, False, "exit code 9"),
        ({"transformers/__init__.py": ""}, False, "cannot import name 'BertForSequenceClassification'"),
        ({"transformers/__init__.py": "BertForSequenceClassification = CLIPModel = pipeline = 1\n",
          "torchvision/__init__.py": "__version__ = '0.1'\n"}, True, "torchvision 0.1 is built for another torch"),
    ],
)  # fmt: skip
def test_doctor_tests_what_transformers_needs(
    files: dict[str, str], good: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = machine.together()
    assert (result.state is State.OK) == good and said in result.found
    assert "pip install -c constraints.txt torch torchvision transformers" in result.found + result.remedy

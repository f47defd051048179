"""``unigrpo rewards check``: what it says of a good function, and of each mistake."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli.app import app
from rl.config import load_config

EXAMPLE = str(Path(__file__).parents[3] / "examples" / "custom_reward.py")


def run(*arguments):
    result = CliRunner().invoke(app, ["rewards", "check", *arguments], env={"COLUMNS": "300"})
    return result.exit_code, result.output + (result.stderr if result.stderr_bytes else "")


@pytest.fixture
def write(tmp_path):
    def write(body, name="reward"):
        path = tmp_path / "mine.py"
        path.write_text(body)
        return f"{path}:{name}"

    return write


def test_the_example_is_fine_and_costs_what_it_costs():
    code, said = run(f"{EXAMPLE}:reward")
    assert code == 0 and "TRL's: a batch at a time" in said and "6 numbers from 0 to 1" in said
    assert "the same scores twice" in said and "4 threads at once" in said
    rollout = load_config("tiny", []).rollout
    assert f"a step of tiny has {rollout.batch_size * rollout.n_samples_per_prompt} rollouts" in said


def test_verls_async_function_with_keywords_on_the_users_own_rows(write, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "2 + 2", "reference": "4"}\n{"prompt": "2 + 3", "reference": "5"}\n')
    spec = write(
        "import asyncio\n"
        "async def f(data_source, solution_str, ground_truth, extra_info, scale=1.0):\n"
        "    await asyncio.sleep(0)\n    print('hello')\n    return scale * float(ground_truth)\n",
        "f",
    )
    code, said = run(spec, "scale=2.0", "--rows", str(rows))
    assert code == 0 and "verl's: one response at a time, async" in said and "2 numbers from 8 to 10" in said
    assert "it printed: 'hello'" in said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return [1.0]", "returned 1 values for 6 completions"),
        ("return None", "returned None, not a list"),
        ("return [float('nan')] * len(completions)", "returned nan for row sample/0"),
        ("return ['1'] * len(completions)", "returned a str for row sample/0"),
        ("import numpy; return numpy.ones(6)", "return values.tolist()"),
        ("return completions[99]", "mine.py:2: return completions[99]: IndexError"),
        ("import os; os._exit(3)", "exit code 3: it must return, and never end its process"),
        ("x = bytearray(4 << 30)", "MemoryError"),
        ("while True: pass", "no result within 1 s for all checks: an endless loop, or slow?"),
    ],
)
def test_each_mistake_is_wrong_and_has_its_line(write, body, said):
    code, output = run(write(f"def reward(completions, **columns):\n    {body}\n"), "--deadline", "1")
    assert code == 2 and said in output and "wrong" in output, output


def test_chance_shared_state_and_sameness_are_notes(write):
    code, said = run(write("import random\ndef reward(completions): return [random.random() for _ in completions]\n"))
    assert code == 0 and "changed on a second call" in said
    code, said = run(write("def reward(completions): return [len(completions)] * len(completions)\n"))
    assert code == 0 and "depend on the other rows" in said and "teaches nothing" in said


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nowhere.py:f", "no such file: nowhere.py"),
        ("correctnes", "allowed: .*, or FILE.py:FUNCTION; did you mean 'correctness'"),
        (f"{EXAMPLE}:rewrad", "did you mean 'reward'"),
    ],
)
def test_a_wrong_argument_is_one_line(spec, said):
    code, output = run(spec)
    assert code == 2 and re.search(said, output.splitlines()[0])


def test_a_reward_by_its_name_with_its_settings():
    code, said = run("length", "longest=1000", "unit=characters")
    assert code == 0 and "rewards.style.LengthReward, a class with score(items)" in said and "pickle" not in said
    assert "6 numbers from -1 to 0" in said
    code, said = run("length", "longest=1000", "unit=lines")
    assert code == 2 and said.startswith("error: reward 'length': unit='lines'; allowed: words, characters")

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
        ("import numpy; return numpy.ones((6, 1))", "return values.reshape(-1)"),
        (
            "return [{'reward': 1.0}] * len(completions)",
            "a dict without 'score' for row sample/0: its keys are 'reward'",
        ),
        ("return [10**400] * len(completions)", "returned an int that no float can hold for row sample/0"),
        ("return [1j] * len(completions)", "a complex, which is complex"),
        ("return [c[0]['content'] for c in completions]", "completions and solution_str are texts here"),
        ("raise SystemExit(3)", "crashed: "),
        ("class Late(BaseException): pass\n    raise Late('after 1 s')", "Late: after 1 s"),
        ("import no_such_thing_x", "put no_such_thing_x.py beside"),
        ("return completions[99]", "mine.py:2: return completions[99]: IndexError"),
        ("import os; os._exit(3)", "exit code 3: it must return, and never end its process"),
        ("x = bytearray(4 << 30)", "MemoryError"),
        ("while True: pass", "no result within 1 s for all checks: an endless loop, or slow?"),
    ],
)
def test_each_mistake_is_wrong_and_has_its_line(write, body, said):
    limits = ("--deadline", "20" if "4 << 30" in body else "1", "--memory-mb", "2048")
    code, output = run(write(f"def reward(completions, **columns):\n    {body}\n"), *limits)
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
        (f"{EXAMPLE}:rewrad", "did you mean 'reward'. It has reward: set custom_reward_function.name=reward"),
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


def test_each_row_has_its_score_in_the_table(write, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"prompt": "2 + {n}", "reference": "{2 + n}", "id": "sum/{n}"}}\n' for n in range(4)))
    spec = write(
        "def f(data_source, solution_str, ground_truth, extra_info):\n"
        "    return {2: 0.25, 3: None, 4: 1j, 5: {'score': 1.5}}[int(ground_truth)]\n",
        "f",
    )
    code, said = run(spec, "--rows", str(rows))
    found = [re.split(r"\s{2,}", line) for line in said.splitlines() if line.startswith("sum/")]
    assert code == 2 and [row[:3] for row in found] == [
        ["sum/0", "<think>so</think>2", "0.25"],
        ["sum/1", "<think>so</think>3", "none"],
        ["sum/2", "<think>so</think>4", "none"],
        ["sum/3", "<think>so</think>5", "1.5"],
    ]
    assert ["".join(row[3:]).partition(":")[0] for row in found] == ["", "no such reward for this row", "invalid", ""]


def test_it_may_do_what_a_worker_of_a_run_may(write, tmp_path, monkeypatch):
    """A run's worker has this environment, writes files, starts programs, and imports what is beside the file."""
    monkeypatch.setenv("MY_SETTING", "0.5")
    (tmp_path / "helper_mod.py").write_text("VALUE = 0.25\n")
    spec = write(
        "import os, pathlib, subprocess, helper_mod\n"
        f"(pathlib.Path({str(tmp_path)!r}) / 'cache.txt').write_text('0.125')\n"
        "def reward(completions):\n"
        "    from helper_mod import VALUE\n"
        "    subprocess.run(['true'], check=True)\n"
        f"    value = float(os.environ['MY_SETTING']) + VALUE + float(open({str(tmp_path / 'cache.txt')!r}).read())\n"
        "    return [value] * len(completions)\n"
    )
    code, said = run(spec)
    assert code == 0 and "6 numbers from 0.875 to 0.875" in said, said


RECIPE = """
name: mine
custom_reward_function: {{path: {path}, name: f, reward_kwargs: {{scale: 3}}, isolate: {isolate}}}
"""


def test_the_recipes_own_function_runs_as_the_recipe_says(write, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SETTING", "x")
    spec = write(
        "import os\ndef f(completions, scale=1): return [scale + ('MY_SETTING' in os.environ)] * len(completions)\n",
        "f",
    )
    recipe = tmp_path / "mine.yaml"
    for isolate, value in (("false", 4), ("true", 3)):
        recipe.write_text(RECIPE.format(path=tmp_path / "mine.py", isolate=isolate))
        code, said = run(spec, "--recipe", str(recipe))
        assert code == 0 and f"6 numbers from {value} to {value}" in said, said
        assert ("in a child process of its own (isolate=true)" in said) == (isolate == "true")
    code, said = run(spec, "scale=9", "--recipe", str(recipe))
    assert "6 numbers from 9 to 9" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\nsys.exit('no key')\ndef reward(completions): pass\n", "mine.py:2: sys.exit('no key'): SystemExit: no key"),
        ("import no_such_thing_x\ndef reward(completions): pass\n", "put no_such_thing_x.py beside"),
        ("1 / 0\ndef reward(completions): pass\n", "mine.py:1: 1 / 0: ZeroDivisionError"),
        ("import os\nos._exit(5)\ndef reward(completions): pass\n", "mine.py:reward: the process ended with exit code 5"),
        ("import os, signal\nos.kill(os.getpid(), 9)\ndef reward(completions): pass\n", "it was killed"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_loaded_is_one_row(write, text, said):
    code, output = run(write(text))
    cells, said = ("".join(text.replace("│", "").split()) for text in (output, said))  # a long path folds, mid-word too
    assert code == 2 and said in cells and "wrong" in output and "Traceback" not in output, output

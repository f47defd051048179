"""``unigrpo rewards check`` and a run take the same reward files, and refuse the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.cli.app import app
from tests.cluster.recipe import write_recipe
from tests.wide import wide

LENGTH = "    return [len(c) / 100 for c in completions]\n"
GOOD = {
    "TRL's": f"def reward(prompts, completions, **columns):\n{LENGTH}",
    "completions alone": f"def reward(completions):\n{LENGTH}",
    "a module beside it": f"import my_words\ndef reward(completions):\n{LENGTH.replace('100', 'my_words.COUNT')}",
    "from a package beside it": f"from my_parts.words import COUNT\ndef reward(completions):\n{LENGTH.replace('100', 'COUNT')}",
    "an import inside": f"def reward(completions):\n    from my_words import COUNT\n{LENGTH}",
    "a file beside it": "from pathlib import Path\nN = int((Path(__file__).parent / 'count.txt').read_text())\n"
    f"def reward(completions):\n{LENGTH.replace('100', 'N')}",
    "the environment": f"import os\ndef reward(completions):\n    os.environ['REWARD_KEY']\n{LENGTH}",
    "a column": "def reward(completions, answer):\n    return [float(a in c) for a, c in zip(answer, completions)]\n",
    "references": "def reward(completions, references):\n    return [float(r in c) for r, c in zip(references, completions)]\n",
    "verl's": "def reward(data_source, solution_str, ground_truth, extra_info):\n    return len(solution_str) / 100\n",
    "verl's with a dict": "def reward(solution_str, ground_truth):\n    return {'score': len(solution_str) / 100, 'n': 1}\n",
    "async": f"import asyncio\nasync def reward(completions):\n    await asyncio.sleep(0)\n{LENGTH}",
    "some None": "def reward(completions):\n    return [None if len(c) % 2 else 0.5 for c in completions]\n",
    "NumPy": "import numpy as np\ndef reward(completions):\n    return np.array([len(c) for c in completions]) / 100\n",
    "booleans": "def reward(completions):\n    return [len(c) > 5 for c in completions]\n",
    "Decimal": "from decimal import Decimal\ndef reward(completions):\n    return [Decimal(len(c)) / 100 for c in completions]\n",
    "prints": f"def reward(completions):\n    print('looking')\n{LENGTH}",
    "a class with __call__": "class Reward:\n  def __call__(self, completions):\n"
    f"{LENGTH.replace('    r', '      r')}reward = Reward()\n",
    "a latin-1 file": "# -*- coding: latin-1 -*-\nNAME = 'caf\xe9'\ndef reward(completions):\n" + LENGTH,
    "a byte order mark": f"\ufeffdef reward(completions):\n{LENGTH}",
}
BAD = {
    "a module that is nowhere": f"import my_wrods\ndef reward(completions):\n{LENGTH}",
    "no such function": f"def rewrad(completions):\n{LENGTH}",
    "a mistake in Python": "def reward(completions)\n    return 1\n",
    "it raises when imported": f"1 / 0\ndef reward(completions):\n{LENGTH}",
    "it exits when imported": f"raise SystemExit(0)\ndef reward(completions):\n{LENGTH}",
    "a number, no function": "reward = 3\n",
    "always None": "def reward(completions):\n    return None\n",
    "one short": "def reward(completions):\n    return [1.0] * (len(completions) - 1)\n",
    "not a number": "def reward(completions):\n    return [float('nan')] * len(completions)\n",
    "messages": "def reward(completions):\n    return [c[0]['content'] for c in completions]\n",
    "a variable that is not set": f"import os\ndef reward(completions):\n    os.environ['NOT_SET_AT_ALL']\n{LENGTH}",
    "verl's without score": "def reward(solution_str, ground_truth):\n    return {'reward': 1.0}\n",
}


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REWARD_KEY", "x")
    recipe = write_recipe(tmp_path, cluster={"mode": "inline"}, output_dir="runs")
    (tmp_path / "my_words.py").write_text("COUNT = 100\n")
    (tmp_path / "my_parts").mkdir()
    (tmp_path / "my_parts" / "__init__.py").write_text("")
    (tmp_path / "my_parts" / "words.py").write_text("COUNT = 100\n")
    (tmp_path / "count.txt").write_text("100")

    def run(text: str, isolate: bool) -> tuple[Result, Result]:
        encoding = "latin-1" if "latin-1" in text else "utf-8"
        (tmp_path / "my_reward.py").write_bytes(text.encode(encoding))
        asks = ["rewards", "check", "my_reward.py:reward", "--rows", "val.jsonl", "--recipe", str(recipe)]
        runs = ["eval", "--recipe", str(recipe), f"custom_reward_function.isolate={str(isolate).lower()}"]
        invoke = CliRunner().invoke
        return tuple(invoke(app, words, env={"COLUMNS": "200"}) for words in (asks, runs))  # pyright: ignore

    return run


@pytest.mark.parametrize("name", wide([*GOOD, *BAD], 7))
def test_what_passes_the_check_scores_a_run_and_what_does_not_ends_it(both, tmp_path: Path, name: str) -> None:
    place = [*GOOD, *BAD].index(name)
    checked, ran = both({**GOOD, **BAD}[name], isolate=place % 4 == 0)
    good = name in GOOD
    assert (checked.exit_code == 0) == good, checked.output
    assert (ran.exit_code == 0) == good, ran.output + ran.stderr
    if good:
        summary = json.loads(next((tmp_path / "runs").rglob("summary.json")).read_text())
        assert summary["tasks"]["text"]["after"] is not None
        assert summary["failed"] == {} or name == "some None"  # rows without any reward
    else:
        assert ran.stderr.splitlines()[-1].startswith("error: ") and "Traceback" not in checked.output + ran.stderr

"""A custom reward's file, its imports and its exceptions, of every kind: what Python runs is run, the rest is one line."""

from __future__ import annotations

import codecs
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rewards import load_reward
from rl.errors import RewardError
from rl.types import Score
from tests.rewards.makers import text_item

FIVE = "def reward(completions): return [5.0] * len(completions)\n"


def run(folder: Path, source: str | bytes, name: str = "reward", **files: str) -> Score | str:
    """The score of one answer, or the line that refuses the file."""
    for file, text in files.items():
        path = folder / file.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".py").write_text(text)
    (folder / "mine.py").write_bytes(source if isinstance(source, bytes) else source.encode())
    try:
        return load_reward(f"{folder / 'mine.py'}:{name}").score([text_item("a")])[0]
    except RewardError as error:
        assert "\n" not in str(error)
        return str(error)


# Python's own reading of a file is ours.


def spoken(encoding: str, char: str, line: str = "# coding: {}\n", mark: bytes = b"") -> bytes:
    code = line.format(encoding) + f"X = '{char}'\ndef reward(completions): return [5.0 * (X == chr({ord(char)}))]\n"
    return mark + code.encode(encoding)


MARK = codecs.BOM_UTF8
FILES: dict[str, bytes] = {
    "mark": MARK + FIVE.encode(), "mark and CRLF": MARK + FIVE.replace("\n", "\r\n").encode(), "CR": b"x = 1\r" + FIVE.encode(),
    "latin-1": spoken("latin-1", "é", "# -*- coding: {} -*-\n"),
    "cp1252": spoken("cp1252", "€", "#!/usr/bin/python\n# coding={}\n"),
    "vim": spoken("iso-8859-15", "€", "# vim: set fileencoding={} :\n"), "utf-8": spoken("utf-8", "ü"),
    "utf-8 and mark": spoken("utf-8", "ü", mark=MARK), "gbk": spoken("gbk", "准"), "shift_jis": spoken("shift_jis", "あ"),
    "koi8-r": spoken("koi8-r", "ж"), "euc-kr": spoken("euc-kr", "가"), "big5": spoken("big5", "中"),
    "cp1251": spoken("cp1251", "ж"),
    "no last line end": FIVE.rstrip().encode(), "form feed": b"\x0c\n" + FIVE.encode(),
    "tabs": FIVE.replace(" return", "\n\treturn").encode(),
    "mark before a docstring": MARK + '"""Ünits."""\n'.encode() + FIVE.encode(),
    "a name": "größe = 5.0\n".encode() + FIVE.replace("5.0", "größe").encode(),
    "future": b"from __future__ import annotations\n" + FIVE.encode(),
    "a mark in a text": b"X = '\xef\xbb\xbf'\n" + FIVE.encode(),
    "a long line": b"x = '" + b"a" * 1_000_000 + b"'\n" + FIVE.encode(),
    "match": FIVE.replace(": return", ":\n match 1:\n  case 1: return").encode(),
}  # fmt: skip
REFUSED: dict[str, bytes] = {
    "end of DOS": FIVE.encode() + b"\x1a", "NUL": FIVE.encode() + b"# a\0b\n",
    "no-break space": FIVE.encode() + "x\u00a0= 1\n".encode(),
    "utf-16": FIVE.encode("utf-16"), "utf-32": FIVE.encode("utf-32"),
    "not ASCII": "# coding: ascii\nX='é'\n".encode() + FIVE.encode(),
    "utf-16 declared": b"# coding: utf-16\n" + FIVE.encode(), "rot13": b"# coding: rot13\n" + FIVE.encode(),
    "mark and latin-1": MARK + b"# coding: latin-1\n" + FIVE.encode(), "no such coding": b"# coding: nothing-8\n" + FIVE.encode(),
    "a program": b"\x7fELF\0\0", "an archive": b"PK\x03\x04", "too deep": b"x=" + b"(" * 1000 + b")" * 1000,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_python_runs_is_run(tmp_path: Path, name: str) -> None:
    score = run(tmp_path, FILES[name])
    assert isinstance(score, Score) and score.value == 5.0


def test_what_python_refuses_is_one_line(tmp_path: Path) -> None:
    for name, data in REFUSED.items():
        line = run(tmp_path, data)
        assert isinstance(line, str) and "mine.py" in line and "Error" in line, name
    (tmp_path / "all.py").write_text(
        "import sys, pathlib, json\nfound = json.loads(sys.stdin.read())\nfor name in found:\n"
        "    try: compile(bytes(found[name]), name, 'exec')\n    except (SyntaxError, ValueError): print(name)\n"
    )
    given = json.dumps({name: list(data) for name, data in {**FILES, **REFUSED}.items() if len(data) < 10_000})
    done = subprocess.run([sys.executable, str(tmp_path / "all.py")], input=given, capture_output=True, text=True)
    assert done.stdout.splitlines() == list(REFUSED)


# Messages say what to do.

CHAT: list[str] = [
    "return [c[0]['content'] for c in completions]", "return [prompts[0][-1]['content']]",
    "return [c[1]['content'] for c in completions]",
    "return [m for c in completions for m in c if m.get('role') == 'assistant']",
    "return [c.pop()['content'] for c in completions]",
    "for p, c in zip(prompts, completions):\n        r = c[-1]['content']",
    "return [dict(role='user', content=p) | c[0] for p, c in zip(prompts, completions)]",
    "content = 'content'; return [c[0][content] for c in completions]",
    "messages = [c[0] for c in completions]; return [m['content'] for m in messages]",
    "[(role, content)] = [c[0].values() for c in completions]",
    "talk = prompts[0] + completions[0]; return [turn['content'] for turn in talk]",
    "talk = prompts[0] + [{'role': 'assistant', 'content': completions[0]}]",
    "talk = [{'role': 'user', 'content': 'x'}] + prompts[0]",
    "return [c['choices'][0]['message']['content'] for c in completions]", "return [c[0][0]['content'] for c in completions]",
    "return [max(c, key=lambda m: m['content']) for c in completions]",
    "talk = {'role': 'user', 'content': 1}; talk |= completions[0]",
    "def f(role, content): pass\n    f(**completions[0][0])", "return [float('x' in c[0]['content']) for c in completions]",
    "return [len([m for m in c if m['role'] == 'assistant']) for c in completions]", "return [c[0].content for c in completions]",
]  # fmt: skip


@pytest.mark.parametrize("body", CHAT)
def test_a_function_for_chat_messages_hears_that_these_are_texts(tmp_path: Path, body: str) -> None:
    score = run(tmp_path, f"def reward(prompts, completions, **columns):\n    {body}\n")
    assert isinstance(score, Score) and score.status == "crashed" and "are texts here" in score.detail


FUNCTIONS: dict[str, str] = {
    "def compute_score(x): pass": "it has compute_score: set custom_reward_function.name=compute_score",
    "async def score(x): pass": "name=score", "def Reward(x): pass": "did you mean 'Reward'?",
    "rewards = lambda c: 1": "name=rewards",
    "def reward_fn(x): pass\ndef rewards_fn(x): pass": "reward_fn, rewards_fn: set custom_reward_function.name=ONE_OF_THESE",
    "def _hidden(c): pass\ndef shown(c): pass": "it has shown: ", "def _hidden(c): pass": "name=_hidden",
    "@property\ndef compute_score(x): pass": "name=compute_score", "a = b = lambda c: 1": "it has a, b",
    "import math": "no other at its",
    "class Reward:\n  def reward(self): pass": "no other at its top level", "": "add def reward(completions, **columns)",
    "try:\n  from x import y\nexcept ImportError: pass\ndef z(): pass": "name=z", "# reward": "no other",
    "x, y = 1, 2": "no other",
    "def outer():\n  def reward(): pass": "name=outer", "lambda reward: 1": "no other", "print(lambda: 1)": "no other",
    "f = (lambda c: 1, 2)": "no other", "def größe(c): pass": "name=größe", "def f(reward): return reward": "name=f",
}  # fmt: skip


@pytest.mark.parametrize("source", FUNCTIONS)
def test_a_missing_function_names_those_that_there_are(tmp_path: Path, source: str) -> None:
    line = run(tmp_path, source)
    assert isinstance(line, str) and "has no function 'reward'" in line and FUNCTIONS[source] in line


IMPORTS: list[tuple[str, dict[str, str], str]] = [
    ("import lost", {}, "No module named 'lost'; put lost.py beside {}, or install lost wherever rewards run"),
    ("import lost.deep", {}, "; put lost.py beside {}"), ("from lost import x", {}, "; put lost.py beside {}"),
    ("from .lost import x", {}, "No module named 'lost'; put lost.py beside {}"),
    ("from . import lost", {}, "cannot import name 'lost' from '' (unknown location); put lost.py beside {}"),
    ("import near.lost", {"near____init__": ""}, "; put near/lost.py beside {}"),
    ("import near.lost", {"near": ""}, "near/lost.py"),
    ("import near", {"near": "import lost"}, "near.py:1: import lost: ModuleNotFoundError: No module named 'lost'; put lost.py"),
    ("from near import y", {"near": "x = 1"}, "cannot import name 'y' from 'near'"),
    ("import near", {"near": "1 / 0"}, "near.py:1: 1 / 0: Zero"),
    ("import near", {"near": "def f(:"}, "SyntaxError"),
    ("import near", {"near": "raise SystemExit"}, "near.py:1: raise SystemExit: SystemExit"),
    ("__import__('lost')", {}, "; put lost.py"), ("import importlib; importlib.import_module('lost.deep')", {}, "; put lost.py"),
    ("from ..up import x", {}, "may not leave the folder of {}"),
    ("from os import lost", {}, "cannot import name 'lost' from 'os'"),
    ("import torch.lost", {}, "No module named 'torch.lost'"),
    ("from .near.lost import x", {"near____init__": ""}, "near/lost.py"),
    ("import near", {"near": "from .lost import x"}, "put lost.py"),
    ("from near import *", {"near": "__all__ = ['y']"}, "has no attribute 'y'"),
    ("from near import deep", {"near____init__": ""}, "cannot import name 'deep' from 'near'"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "files", "told"), IMPORTS)
def test_a_module_that_is_not_there_says_where_to_put_it(
    tmp_path: Path, line: str, files: dict[str, str], told: str
) -> None:
    said = run(tmp_path, f"{line}\n{FIVE}", **files)
    assert isinstance(said, str) and told.format(tmp_path / "mine.py") in said and "unigrpo_custom" not in said


RAISED: list[str] = [
    "raise type('FunctionTimedOut', (BaseException,), {})('1 s')", "raise asyncio.CancelledError", "raise SystemExit(3)",
    "sys.exit('x')",
    "raise BaseExceptionGroup('g', [SystemExit(1)])", "raise ExceptionGroup('g', [ValueError('x')])", "raise GeneratorExit",
    "class T(KeyboardInterrupt): pass\n    raise T('own')", "def f(): yield from f()\n    list(f())", "raise OSError(5, 'io')",
    "class E(Exception):\n        def __str__(self): raise SystemExit\n    raise E", "raise StopAsyncIteration", "assert False",
    "class E(BaseException):\n        def __str__(self): raise GeneratorExit\n        __repr__ = __str__\n    raise E",
    "class E(Exception):\n        def __str__(self): return 5\n    raise E", "raise ValueError('x' * 100000)", "raise KeyError",
    "quit()",
    "assert False, 'a\\nb'", "raise UnicodeDecodeError('utf-8', b'x', 0, 1, 'y')", "(_ for _ in ()).throw(BaseException('g'))",
    "import warnings; warnings.simplefilter('error'); warnings.warn('x')", "raise ImportError", "os.abort if False else 1 / 0",
]  # fmt: skip


@pytest.mark.parametrize("body", RAISED)
def test_whatever_is_raised_is_the_score_of_its_batch(tmp_path: Path, body: str) -> None:
    for head in ("def reward", "async def reward"):
        for name in ("completions", "solution_str"):
            score = run(tmp_path, f"import asyncio, os, sys\n{head}({name}):\n    {body}\n")
            assert isinstance(score, Score) and score.status == "crashed" and "mine.py:" in score.detail
            assert "\n" not in score.detail and len(score.detail) < 101_000


@pytest.mark.parametrize(
    ("head", "given"),
    [("completions, lost", "columns: prompts, completions"), ("solution_str, lost", "arguments: data_source")],
)
def test_an_argument_that_nobody_gives_says_what_is_given(tmp_path: Path, head: str, given: str) -> None:
    score = run(tmp_path, f"def reward({head}): return 1.0\n")
    assert isinstance(score, Score) and "missing 1 required positional argument: 'lost'; " + given in score.detail

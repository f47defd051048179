"""Files that Python runs are files that a reward may be in, and a wrong name says which ones there are."""

import codecs
import subprocess
import sys

import pytest

from rewards import load_reward
from rewards.mix import RewardMix
from rl.errors import RewardError
from tests.rewards.makers import text_item

BODY = "def reward(completions):\n    return [float(len({text!r})) for _ in completions]\n"
LATIN = BODY.replace("{text!r}", "'größe'")
FILES = {
    "a byte-order mark": codecs.BOM_UTF8 + LATIN.encode(),
    "a mark and a coding line": codecs.BOM_UTF8 + b"# coding: utf-8\n" + LATIN.encode(),
    "latin-1": b"# -*- coding: latin-1 -*-\n" + LATIN.encode("latin-1"),
    "iso-8859-15 in line two": b"#!/usr/bin/env python\n# vim: set fileencoding=iso-8859-15 :\n" + LATIN.encode("latin-1"),
    "cp1252": b"# coding=cp1252\n" + LATIN.encode("cp1252"),
    "utf-8-sig": codecs.BOM_UTF8 + b"# coding: utf-8-sig\n" + LATIN.encode(),
    "gbk": b"# coding: gbk\n" + BODY.replace("{text!r}", "'五个字中文'").encode("gbk"),
    "shift_jis": b"# coding: shift_jis\n" + BODY.replace("{text!r}", "'あいうえお'").encode("shift_jis"),
    "euc-kr": b"# coding: euc-kr\n" + BODY.replace("{text!r}", "'가나다라마'").encode("euc-kr"),
    "koi8-r": b"# coding: koi8-r\n" + BODY.replace("{text!r}", "'слово'").encode("koi8-r"),
    "Windows line ends": LATIN.replace("\n", "\r\n").encode(),
    "old Mac line ends": LATIN.replace("\n", "\r").encode(),
    "mixed line ends": b"import math\r\n\rimport json\n" + LATIN.encode(),
    "form feeds": b"\x0c\nimport math\n\x0c\n" + LATIN.encode(),
    "tabs": LATIN.replace("    ", "\t").encode(),
    "no last line end": LATIN.rstrip("\n").encode(),
    "a line that goes on": b"import math, \\\n    json\n" + LATIN.encode(),
    "future annotations": b"from __future__ import annotations\n"
    + LATIN.replace("completions)", "completions: Nowhere)").encode(),
    "a docstring before future": b"'''What it is.'''\nfrom __future__ import annotations\n" + LATIN.encode(),
    "unicode names": LATIN.replace("_ in", "größe in").encode(),
    "a lambda": b"reward = lambda completions: [5.0] * len(completions)\n",
    "a partial": b"import functools\ndef f(value, completions): return [value] * len(completions)\n"
    b"reward = functools.partial(f, 5.0)\n",
    "an object that can be called": b"class R:\n    def __call__(self, completions): return [5.0] * len(completions)\n"
    b"reward = R()\n",
    "under a condition": b"if True:\n    def reward(completions): return [5.0] * len(completions)\n",
    "after an attempt": b"try:\n    import no_such_module_x\nexcept ImportError:\n"
    b"    def reward(completions): return [5.0] * len(completions)\n",
    "in globals": b"def f(completions): return [5.0] * len(completions)\nglobals()['reward'] = f\n",
    "by exec": b"exec('def reward(completions): return [5.0] * len(completions)')\n",
    "by a global statement": b"def f():\n    global reward\n"
    b"    def reward(completions): return [5.0] * len(completions)\nf()\n",
    "by a match": b"match (lambda completions: [5.0] * len(completions)):\n    case reward: pass\n",
    "by a loop": b"for reward in [lambda completions: [5.0] * len(completions)]: pass\n",
    "by a walrus": b"print(reward := lambda completions: [5.0] * len(completions))\n",
    "a module __getattr__": b"def __getattr__(name):\n    if name != 'reward': raise AttributeError(name)\n"
    b"    return lambda completions: [5.0] * len(completions)\n",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_python_runs_is_accepted(name, tmp_path):
    file = tmp_path / "mine.py"
    file.write_bytes(FILES[name])
    assert subprocess.run([sys.executable, str(file)], capture_output=True, timeout=60).returncode == 0, "not Python"
    RewardMix.check({"text": {"custom": 1.0}}, custom={"path": str(file), "name": "reward"})
    (score,) = load_reward(f"{file}:reward").score([text_item("a")])
    assert score.value == 5.0, score.detail


@pytest.mark.parametrize("target", ["real.py", "blob_without_ending", "deeper/real.py"])
def test_a_link_is_its_file_and_has_its_own_folder_beside_it(target, tmp_path):
    """As a mounted config map, or a cache of downloads, has them."""
    store, links = tmp_path / "store", tmp_path / "links"
    (store / target).parent.mkdir(parents=True)
    links.mkdir()
    (store / target).write_text("from five import VALUE\ndef reward(completions): return [VALUE] * len(completions)\n")
    (links / "mine.py").symlink_to(store / target)
    for folder in (links, (store / target).parent):
        (folder / "five.py").write_text("VALUE = 5.0\n")
        (score,) = load_reward(f"{links / 'mine.py'}:reward").score([text_item("a")])
        assert score.value == 5.0
        (folder / "five.py").unlink()


@pytest.mark.parametrize(
    "name", ["my-reward.py", "my reward.py", "mine.v2.py", "größe.py", "2nd.py", "class.py", "json.py", "torch.py"]
)
def test_any_name_of_a_file_will_do(name, tmp_path):
    file = tmp_path / name
    file.write_text("import json, torch\ndef reward(completions): return [float(json.loads('5'))] * len(completions)\n")
    (score,) = load_reward(f"{file}:reward").score([text_item("a")])
    assert score.value == 5.0


def test_a_file_needs_no_ending(tmp_path):
    file = tmp_path / "mine"
    file.write_text("def reward(completions): return [5.0] * len(completions)\n")
    (score,) = load_reward({"name": "custom", "path": str(file)}).score([text_item("a")])
    assert score.value == 5.0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x = '\xff'\ndef reward(completions): pass\n", "mine.py:1: SyntaxError: .*utf-8"),
        (b"# coding: no-such-code\n", "mine.py.*: SyntaxError: .*no-such-code"),
        (b"def reward(completions):\n    return [0.0]\n\0", "mine.py.*null bytes"),
        (b"def reward(completions):\n\treturn 1\n        return 2\n", "mine.py:3: TabError"),
        (b"print 'hello'\n", "mine.py:1: SyntaxError"),
        ("reward = 1".encode("utf-16"), "mine.py.*: (SyntaxError|ValueError)"),
    ],
)
def test_a_file_that_python_refuses_is_one_line(data, said, tmp_path):
    file = tmp_path / "mine.py"
    file.write_bytes(data)
    with pytest.raises(RewardError, match=said) as caught:
        load_reward(f"{file}:reward")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def compute_score(solution_str): pass", "it has compute_score: set custom_reward_function.name=compute_score"),
        ("def a(x): pass\nasync def b(x): pass\ndef _c(x): pass", "it has a, b: set custom_reward_function.name=ONE"),
        ("def _only(x): pass", "it has _only: set custom_reward_function.name=_only"),
        ("def rewards(x): pass", "did you mean 'rewards'. It has rewards: set custom_reward_function.name=rewards"),
        ("class R:\n    def reward(self, completions): pass", "no other at its top level"),
        ("def outer():\n    def reward(completions): pass\n", "it has outer: set custom_reward_function.name=outer"),
        ("def outer():\n    reward = 1\n", "it has outer"),
        ("reward_ = 3", "no other at its top level; add def reward.completions"),
        ("", "no other at its top level"),
        ("\n".join(f"def f{i}(): pass" for i in range(30)), "f11, ...: set"),
        ("if False:\n    reward = print\ndef other(x): pass\n", "it has other: set custom_reward_function.name=other"),
    ],
)  # fmt: skip
def test_a_missing_function_names_those_that_there_are(text, said, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(RewardError, match="has no function 'reward'.*" + said) as caught:
        load_reward(f"{file}:reward")
    assert "\n" not in str(caught.value)

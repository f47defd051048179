"""Modules beside a user's file: at hand for it, in this process and in a child, and for nobody else."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from rewards import load_reward
from rewards.functions.modules import run_file
from rewards.mix import RewardMix
from rl.errors import RewardError
from tests.rewards.makers import text_item

ITEMS = [text_item("a"), text_item("b")]
USES = "def reward(completions): return [float(VALUE)] * len(completions)\n"
HELPER = {"helper_mod.py": "VALUE = 5\n"}
PACKAGE = {
    "pack/__init__.py": "from .one import VALUE\n",
    "pack/one.py": "from .sub.two import VALUE\nfrom . import sub\n",
    "pack/sub/__init__.py": "",
    "pack/sub/two.py": "from ...pack import sub\nfrom ..three import VALUE\n",
    "pack/three.py": "import helper_mod\nVALUE = helper_mod.VALUE\n",
    **HELPER,
}
PROJECT = {
    "proj/__init__.py": "",
    "proj/common.py": "VALUE = 5\n",
    "proj/rewards/__init__.py": "LOADED = True\n",
    "proj/rewards/near.py": "from ..common import VALUE\n",
}
WAYS = {
    "import": (HELPER, "import helper_mod\nVALUE = helper_mod.VALUE\n"),
    "from": (HELPER, "from helper_mod import VALUE\n"),
    "star": (HELPER, "from helper_mod import *\n"),
    "as": (HELPER, "import helper_mod as h\nVALUE = h.VALUE\n"),
    "two in one line": (HELPER, "import json, helper_mod\nVALUE = helper_mod.VALUE\n"),
    "by function": (HELPER, "VALUE = __import__('helper_mod').VALUE\n"),
    "by importlib": (HELPER, "import importlib\nVALUE = importlib.import_module('helper_mod').VALUE\n"),
    "by importlib, a submodule": (PACKAGE, "import importlib\nVALUE = importlib.import_module('pack.sub.two').VALUE\n"),
    "with its folder in sys.path": (
        HELPER, "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nimport helper_mod\n"
        "sys.path.pop(0)\nVALUE = helper_mod.VALUE\n"),
    "a package": (PACKAGE, "import pack\nVALUE = pack.VALUE\n"),
    "a submodule": (PACKAGE, "import pack.sub.two\nVALUE = pack.sub.two.VALUE\n"),
    "from a submodule": (PACKAGE, "from pack.sub import two\nVALUE = two.VALUE\n"),
    "a folder without __init__": ({"plainfolder_x/one.py": "VALUE = 5\n"}, "from plainfolder_x.one import VALUE\n"),
    "a helper's helper": ({"outer_mod.py": "from helper_mod import VALUE\n", **HELPER}, "from outer_mod import VALUE\n"),
    "a helper that imports the file": (
        {"circle_mod.py": "import mine\ndef get(): return mine.NUMBER\n"},
        "NUMBER = 5\nimport circle_mod\nVALUE = circle_mod.get()\n"),
    "a helper with a mark": ({"helper_mod.py": "\ufeffVALUE = 5\n"}, "from helper_mod import VALUE\n"),
    "a name that is installed": ({"yaml.py": "VALUE = 5\n"}, "from yaml import VALUE\n"),
    "one of our names": ({"rewards.py": "VALUE = 5\n"}, "from rewards import VALUE\n"),
    "ours, beside a folder of its name": ({"rewards/data.txt": ""}, "from rewards.response import split_response\nVALUE = 5\n"),
    "python's, beside a file of its name": ({"random.py": "1/0\n"}, "import random\nVALUE = 5 + 0 * random.random()\n"),
    "installed, beside a folder of its name": ({"numpy/x.txt": ""}, "import numpy\nVALUE = numpy.array(5)\n"),
    "a dataclass": (
        {"shape_mod.py": "from __future__ import annotations\nfrom dataclasses import dataclass\n"
         "@dataclass\nclass Shape:\n    size: int = 5\n"},
        "import pickle, shape_mod\nVALUE = pickle.loads(pickle.dumps(shape_mod.Shape())).size\n"),
    "a pickle of a plain name": (
        {"shape_mod.py": "class Shape:\n    size = 5\n"},
        "import pickle\nVALUE = pickle.loads(b'cshape_mod\\nShape\\n.').size\n"),
    "a relative import": (HELPER, "from .helper_mod import VALUE\n"),
    "a relative import of a module": (HELPER, "from . import helper_mod\nVALUE = helper_mod.VALUE\n"),
    "its __file__ and __name__": ({}, "import os\nVALUE = 5 * os.path.isfile(__file__) * (__name__ != '__main__')\n"),
}  # fmt: skip
LATE = "def reward(completions):\n    {way}    return [float(VALUE)] * len(completions)\n"


@pytest.fixture
def write(tmp_path):
    def write(files, folder="first"):
        for name, text in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(tmp_path / folder / "mine.py")

    return write


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = list(sys.path)
    yield
    assert sys.path == before
    assert not {"helper_mod", "pack", "pack.sub.two", "shape_mod", "outer_mod", "mine", "proj"} & set(sys.modules)


@pytest.mark.parametrize("name", WAYS)
def test_a_module_beside_the_file_is_imported(name, write):
    files, way = WAYS[name]
    path = write({**files, "mine.py": way + USES})
    assert [score.value for score in load_reward(f"{path}:reward").score(ITEMS)] == [5.0, 5.0]


@pytest.mark.parametrize("name", [name for name in WAYS if name not in ("star", "a relative import of a module")])
def test_also_in_a_call(name, write):
    files, way = WAYS[name]
    late = LATE.format(way=way.replace("\n", "\n    ").removesuffix("    "))
    path = write({**files, "mine.py": f"NUMBER = 5\n{late}"})
    assert [score.detail or score.value for score in load_reward(f"{path}:reward").score(ITEMS)] == [5.0, 5.0]


@pytest.mark.parametrize(
    "name", ["import", "a package", "by importlib", "a relative import", "a pickle of a plain name"]
)
def test_also_in_a_child_process(name, write):
    files, way = WAYS[name]
    path = write({**files, "mine.py": way + USES})
    reward = load_reward({"name": "custom", "path": path, "isolate": True})
    assert [score.value for score in reward.score(ITEMS)] == [5.0, 5.0]


@pytest.mark.parametrize(
    "name", [name for name, (files, _) in WAYS.items() if "helper_mod.py" in files and "sys.path" not in name]
)
def test_two_rewards_have_helpers_of_one_name_and_neither_sees_the_others(name, write):
    files, way = WAYS[name]
    late = LATE.format(way=way.replace("\n", "\n    ").removesuffix("    ")) if "*" not in way else ""
    spec = {}
    for folder, value in (("first", 5), ("second", 6)):
        own = {key: text.replace("VALUE = 5", f"VALUE = {value}") for key, text in files.items()}
        spec[folder] = {"name": "custom", "path": write({**own, "mine.py": way + (late or USES)}, folder)}
    mix = RewardMix({"text": {"first": 1.0, "second": 10.0}}, spec)
    assert [score.value for score in mix.score(ITEMS)] == [65.0, 65.0]
    alone = write({"mine.py": way + USES}, "third")
    with pytest.raises(RewardError, match=r"third/mine.py:\d+: .*(No module named|cannot import name).*"):
        load_reward(f"{alone}:reward")


def test_a_file_in_a_package_imports_relatively_and_by_the_packages_name(write):
    way = "from ..common import VALUE as a\nfrom .near import VALUE as b\nfrom . import LOADED\nfrom proj.common import VALUE\n"
    path = write({**PROJECT, "proj/rewards/mine.py": way + USES}).replace("mine.py", "proj/rewards/mine.py")
    assert [score.value for score in load_reward(f"{path}:reward").score(ITEMS)] == [5.0, 5.0]


def test_a_relative_import_that_leaves_the_folder_says_what_to_do(write):
    path = write({"mine.py": "from ..common import VALUE\n" + USES, "../common.py": "VALUE = 5\n"})
    with pytest.raises(RewardError, match="mine.py:1: .*ImportError.*__init__.py"):
        load_reward(f"{path}:reward")


@pytest.mark.parametrize(
    "way", ["import no_such_thing_x", "import no_such_thing_x.sub", "from no_such_thing_x import y"]
)
def test_a_module_that_is_nowhere_says_where_it_may_be(way, write):
    path = write({"mine.py": f"{way}\n{USES}"})
    with pytest.raises(RewardError, match="No module named 'no_such_thing_x'; put no_such_thing_x.py beside .*mine.py"):
        load_reward(f"{path}:reward")
    late = write({"mine.py": f"def reward(completions):\n    {way}\n"})
    assert "put no_such_thing_x.py beside" in load_reward(f"{late}:reward").score(ITEMS)[0].detail


def test_an_error_in_a_helper_names_the_helpers_line(write):
    path = write(
        {
            "helper_mod.py": "def f(x):\n    return x / 0\n",
            "mine.py": "import helper_mod\ndef reward(completions):\n    return [helper_mod.f(1)]\n",
        }
    )
    assert "helper_mod.py:2: return x / 0: ZeroDivisionError" in load_reward(f"{path}:reward").score(ITEMS)[0].detail
    path = write({"helper_mod.py": "import json\njson.loads('{')\n", "mine.py": "import helper_mod\n" + USES})
    with pytest.raises(RewardError, match="helper_mod.py:2: json.loads"):
        load_reward(f"{path}:reward")


def test_nothing_is_written_beside_the_file_and_a_change_counts_at_once(write, tmp_path):
    path = write({"mine.py": "from helper_mod import VALUE\n" + USES, **HELPER})
    for value in (5, 6, 7):  # one size, and maybe one second
        write({"helper_mod.py": f"VALUE = {value}\n"})
        assert load_reward(f"{path}:reward").score(ITEMS)[0].value == value
    assert sorted(file.name for file in (tmp_path / "first").iterdir()) == ["helper_mod.py", "mine.py"]


def test_a_file_that_fails_leaves_no_module(write):
    path = write({"mine.py": "import helper_mod\n1 / 0\n", **HELPER})
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError):
        run_file(path)
    assert set(sys.modules) == before


def test_many_threads_may_run_one_file(write):
    late = "import pickle, time\ntime.sleep(0.01)\nVALUE = pickle.loads(b'cshape_mod\\nShape\\n.').size\n"
    body = LATE.format(way=late.replace("\n", "\n    ").removesuffix("    "))
    path = write({"shape_mod.py": "class Shape:\n    size = 5\n", "mine.py": body})
    reward = load_reward(f"{path}:reward")
    with ThreadPoolExecutor(8) as threads:
        found = [
            scores[0].detail or scores[0].value for scores in threads.map(lambda _: reward.score(ITEMS), range(64))
        ]
    assert found == [5.0] * 64

"""What a reward needs is sent: it loads in another folder while nothing is left where it was submitted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from rewards import load_reward
from rl.config import load_config
from tests.cluster.jobs.sending import KWARGS, sends
from tests.cluster.jobs.shipments import moved, put
from tests.rewards.makers import text_item

HOME = Path(__file__).parents[3]


READS = """
import json
from pathlib import Path

def reward(prompts, completions, **kwargs):
    read = {}
    for name, value in kwargs["files"].items():
        path = Path(value["at"][0])
        read[name] = path.read_text() if path.is_file() else sorted(file.name for file in path.iterdir())[0]
    Path("read.json").write_text(json.dumps(read))
    return [0.5]
"""


WORD = """
{imports}

def reward(prompts, completions):
    assert {word} == "w"
    return [0.5]
"""


# In a process of its own: modules of one reward are gone before the next one is loaded.
SCORES = """
import sys
from pathlib import Path
from rewards.registry import load_reward
from rl.config import load_config
from rl.types import Message, Prompt, RewardItem, Task
config = load_config("job.yaml")
custom = config.custom_reward_function
given = {"custom": {"path": custom.path, "function": custom.name, "reward_kwargs": custom.reward_kwargs}}
for name, settings in {**given, **config.rewards.settings}.items():
    folder = str(Path(settings["path"]).parent.absolute())
    sys.path.append(folder)
    reward = load_reward({**settings, "name": "custom"})
    (score,) = reward.score([RewardItem(Prompt("1", Task.TEXT, (Message("user", "?"),)), "answer")])
    assert score.value == 0.5, (name, score)
    sys.path.remove(folder)
    for module in [name for name, module in sys.modules.items() if folder in str(getattr(module, "__path__", module))]:
        del sys.modules[module]
"""


def _score() -> None:
    """All rewards of the job, in its folder."""
    done = subprocess.run(
        [sys.executable, "-c", SCORES],
        env={**os.environ, "PYTHONPATH": str(HOME), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_files_in_the_rewards_arguments(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("words.txt", "lists/en.csv", "../beside/other.txt", "VOCABULARY", "two words.txt", ".hidden")
    Path("link.txt").symlink_to("words.txt")
    Path("linked").symlink_to("lists")
    Path("my_reward.py").write_text(READS)
    named = {
        "words.txt": "words.txt", "./words.txt": "words.txt", "lists/../words.txt": "words.txt", "two words.txt": "two words.txt",
        "lists/en.csv": "en.csv", "./lists/en.csv": "en.csv", "lists/": "en.csv", "./lists": "en.csv", "lists": "en.csv",
        "../beside/other.txt": "other.txt", "../beside": "other.txt", f"{home}/words.txt": "words.txt", f"{home}/lists": "en.csv",
        "link.txt": "words.txt", "linked": "en.csv", "linked/en.csv": "en.csv", "linked/../words.txt": "words.txt",
        "VOCABULARY": "VOCABULARY", ".hidden": ".hidden", "~/of_the_user.txt": "of_the_user.txt",
    }  # fmt: skip
    monkeypatch.setenv("HOME", str(home / "user"))
    put("user/of_the_user.txt")
    moved(sends({KWARGS: {"files": {name: {"at": [name]} for name in named}}}), home, monkeypatch)
    (home.parent / "beside").rename(home.parent / "beside-gone")
    _score()
    assert json.loads(Path("read.json").read_text()) == named


MODULES: Mapping[str, tuple[Mapping[str, str], str, str]] = {  # name -> files beside the reward, its imports, what it reads
    "a module": ({"helper.py": "word = 'w'"}, "import helper", "helper.word"),
    "from a module": ({"helper.py": "word = 'w'"}, "from helper import word", "word"),
    "everything of a module": ({"helper.py": "word = 'w'"}, "from helper import *", "word"),
    "two steps": ({"helper.py": "from second import word", "second.py": "word = 'w'"}, "import helper", "helper.word"),
    "a circle": ({"helper.py": "import second\nword = 'w'", "second.py": "import helper"}, "import helper", "helper.word"),
    "a package": (
        {"tools/__init__.py": "from .inner import word", "tools/inner.py": "word = 'w'"}, "import tools", "tools.word",
    ),
    "a package's module": (
        {"tools/__init__.py": "", "tools/deep/__init__.py": "", "tools/deep/inner.py": "word = 'w'"},
        "from tools.deep.inner import word", "word",
    ),
    "a package's data": (
        {"tools/__init__.py": "from pathlib import Path\nword = (Path(__file__).parent / 'w.txt').read_text()",
         "tools/w.txt": "w"}, "import tools", "tools.word",
    ),
    "a package's import of a module beside it": (
        {"tools/__init__.py": "import helper", "helper.py": "word = 'w'"}, "import tools", "tools.helper.word",
    ),
    "a folder without an __init__": ({"plain/helper.py": "word = 'w'"}, "from plain import helper", "helper.word"),
    "a module of such a folder": (
        {"plain/helper.py": "from plain.second import word", "plain/second.py": "word = 'w'"},
        "import plain.helper", "plain.helper.word",
    ),
    "inside a function": ({"helper.py": "word = 'w'"}, "def late():\n    import helper\n    return helper", "late().word"),
    "by name": ({"helper.py": "word = 'w'"}, "import importlib\nhelper = importlib.import_module('helper')", "helper.word"),
    "where it may be missing": (
        {"helper.py": "word = 'w'"}, "try:\n    import helper\nexcept ImportError:\n    helper = None", "helper.word",
    ),
    "a module in Latin-1": (
        {"helper.py": "# -*- coding: latin-1 -*-\n# \xe9\nfrom second import word", "second.py": "word = 'w'"},
        "import helper", "helper.word",
    ),
}  # fmt: skip


def test_modules_beside_a_reward(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {}
    for number, (case, (files, imports, word)) in enumerate(MODULES.items()):
        folder = Path(f"src{number}")
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "latin-1")
        put(folder / "not_imported.py", folder / "tools/__pycache__/old.pyc")
        (folder / "graded.py").write_text(WORD.format(imports=imports, word=word))
        settings[case] = {"name": "custom", "path": f"src{number}/graded.py"}
    # Python looks beside the target of a link.
    put("real/x")
    Path("real/helper.py").write_text("word = 'w'")
    Path("real/graded.py").write_text(WORD.format(imports="import helper", word="helper.word"))
    Path("my_reward.py").unlink()
    Path("my_reward.py").symlink_to("real/graded.py")
    moved(sends({"rewards.settings": settings}), home, monkeypatch)
    _score()
    sent = {file.name for file in Path("files").rglob("*")}
    assert not sent & {"not_imported.py", "__pycache__", "x"}


def test_a_reward_that_imports_by_dots_brings_its_packages(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "outer/__init__.py": "", "outer/words.py": "import beside_it", "outer/inner/__init__.py": "", "outer/inner/w.txt": "",
        "beside_it.py": "", "not_imported.py": "",
        "outer/inner/graded.py": f"from ..words import x\nfrom . import y\nfrom {'.' * 99} import z",
    }  # fmt: skip
    for name, text in texts.items():
        Path("src", name).parent.mkdir(parents=True, exist_ok=True)
        Path("src", name).write_text(text)
    shipment = sends({"custom_reward_function.path": "src/outer/inner/graded.py"})
    config = moved(shipment, home, monkeypatch)
    top = Path(str(config.custom_reward_function.path)).parents[2]
    assert {str(file.relative_to(top)) for file in top.rglob("*.*")} == {*texts} - {"not_imported.py"}


def test_what_is_installed_or_ours_is_not_sent_as_a_module(home: Path) -> None:
    for folder in ("site-packages/torch", "src/rl"):
        Path(folder).mkdir(parents=True)
        Path(folder, "__init__.py").write_text("")
    for file in ("site-packages/my_reward.py", "src/my_reward.py"):
        Path(file).write_text("import torch, rl.types\n" + READS)
        shipment = sends({"custom_reward_function.path": file})
        assert not [place for place in shipment.files if place.endswith(("/torch", "/rl"))]


def test_rewards_that_are_named_by_their_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a mix, under another name, as a reward of its own, and in the rows' column: the name in metrics stays."""
    from rewards.registry import load_reward

    for name in ("one", "two", "three", "four"):
        Path(f"{name}.py").write_text(f"import helper_of_{name}\ndef f(prompts, completions): return [0.5]\n")
        put(f"helper_of_{name}.py")
    rows = [
        {"prompt": "?", "answer": "1", "rewards": ["four.py:f"]},
        {"prompt": "!", "answer": "1", "rewards": "format"},
    ]
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    mix = {"text": {"one.py:f": 1.0, "second": 1.0, "third": 1.0}}
    entries = {
        "second": {"name": "two.py:f"},
        "third": {"name": "custom", "path": "three.py", "function": "f"},
        "four.py:f": {},
    }
    config = moved(sends({"rewards.mix": mix, "rewards.settings": entries}), home, monkeypatch)
    assert {"one.py:f", "second", "third"} <= set(config.rewards.mix["text"])
    for name, file in (("one.py:f", "one"), ("second", "two"), ("third", "three"), ("four.py:f", "four")):
        given = config.rewards.settings[name]
        path = Path(given.get("path") or given["name"].partition(":")[0])
        assert path.name == f"{file}.py" and (path.parent / f"helper_of_{file}.py").is_file()
        (path.parent / f"helper_of_{file}.py").write_text("")
        monkeypatch.syspath_prepend(str(path.parent.absolute()))
        load_reward({"name": name, **given})


def test_files_of_built_in_rewards(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("rubric.md", "weights/CLIP", "head.pth")
    config = moved(
        sends(
            {
                "rewards.settings": {
                    "judge": {"rubric": "rubric.md"},
                    "clip": {"model": "weights"},
                    "b": {"name": "clip", "model": "./weights"},
                    "c": {"name": "clip", "model": "local-dir:weights"},
                    "d": {"name": "clip", "model": "ViT-B-32", "pretrained": "weights/CLIP"},
                    "pickscore": {"path": "weights"},
                    "imagereward": {"path": f"{home}/weights"},
                    "aesthetic": {"head": "head.pth", "model": "ViT-L-14", "pretrained": "openai"},
                    "e": {"name": "hpsv2", "pretrained": "head.pth"},
                }
            }
        ),
        home,
        monkeypatch,
    )
    found = {
        f"{name}.{key}": Path(value.removeprefix("local-dir:"))
        for name, given in config.rewards.settings.items()
        for key, value in given.items()
        if key != "name"
    }
    assert str(found.pop("d.model")) == "ViT-B-32"
    assert (str(found.pop("aesthetic.model")), str(found.pop("aesthetic.pretrained"))) == ("ViT-L-14", "openai")
    for key, path in found.items():
        file = path if path.is_file() else next(path.iterdir())
        assert file.read_text() == {"judge": "rubric.md", "aesthetic": "head.pth", "e": "head.pth"}.get(
            key.partition(".")[0], "CLIP"
        )


@pytest.mark.parametrize("base", ["base", "./base", "{home}/base"])
def test_an_adapter_in_the_place_of_a_policy_brings_its_base(
    home: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    put("base/config.json", "base/model.safetensors", "adapter/adapter_model.safetensors")
    named = {"base_model_name_or_path": base.format(home=home)}
    Path("adapter/adapter_config.json").write_text(json.dumps(named))
    config = moved(sends({"policy.path": "adapter"}), home, monkeypatch)
    assert (Path(config.policy.path) / "model.safetensors").read_text() == "model.safetensors"
    assert (Path(str(config.learner.lora.path)) / "adapter_model.safetensors").is_file()


def test_files_that_a_reward_opens_by_its_own_place(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("src/words.txt", "src/lists/en.txt", "src/unused.txt")
    Path("src/helper.py").write_text(
        "from pathlib import Path\nword = open(Path(__file__).parent / 'lists' / 'en.txt').read()\n"
    )
    opens = "from pathlib import Path\nimport helper\nword = Path(__file__).with_name('words.txt').read_text()"
    Path("src/graded.py").write_text(
        WORD.format(imports=opens, word="word + helper.word").replace('"w"', '"words.txten.txt"')
    )
    Path("my_reward.py").unlink()
    moved(sends({"custom_reward_function.path": "src/graded.py"}), home, monkeypatch)
    assert {file.name for file in Path("files").rglob("*.txt")} == {"words.txt", "en.txt"}
    settings = load_config("job.yaml").custom_reward_function
    (score,) = load_reward({"name": "custom", "path": settings.path, "function": "reward"}).score([text_item("?")])
    assert score.value == 0.5, score

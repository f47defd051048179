"""What a job needs is sent: it loads in another folder while nothing is left where it was submitted."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cluster.jobs.shipping import Shipment
from rl.config import Config, SourceConfig, load_config
from rl.data.rows import load_rows
from rl.errors import ConfigError, DataError
from rl.pixels import load_pixels
from tests.cluster.jobs.sending import KWARGS, sends
from tests.cluster.recipe import write_recipe

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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a recipe, in which the user is."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_recipe(folder)
    return folder


def moved(shipment: Shipment, home: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The job's config, in the job's folder; the user's is renamed away."""
    work = home.parent / "elsewhere" / "job"
    work.mkdir(parents=True)
    shipment.write(work)
    home.rename(home.parent / "gone")
    monkeypatch.chdir(work)
    return load_config("job.yaml")


def put(*files: Path | str) -> None:
    """Each with its own name as content."""
    for file in map(Path, files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name)


def picture(path: Path | str, level: int) -> bytes:
    """A grey image in a file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    Image.new("RGB", (4, 4), (level, level, level)).save(data, "PNG")
    Path(path).write_bytes(data.getvalue())
    return data.getvalue()


def level(image: Any) -> int:
    """Of an image as a prompt has it: a path, or as its file has it."""
    return int(load_pixels(image, 1)[0, 0, 0])


# ---- the reward: its texts and its modules


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


# ---- rows and their images


def _rows(kind: str, rows: list[dict[str, Any]], folder: str = ".") -> str:
    """Rows in a file or folder of a kind; its name."""
    import datasets

    Path(folder).mkdir(exist_ok=True)
    if kind == "jsonl":
        Path(folder, "seen.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8-sig")
        return f"{folder}/seen.jsonl"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), f"{folder}/seen.parquet")
        return f"{folder}/seen.parquet"
    data = datasets.Dataset.from_list(rows)
    (datasets.DatasetDict({"train": data}) if kind == "splits" else data).save_to_disk(f"{folder}/seen")
    return f"{folder}/seen"


IMAGES: Mapping[str, Callable[[str], Any]] = {
    "text": lambda path: path,
    "path": lambda path: {"path": path},
    "bytes and path": lambda path: {"bytes": None, "path": path},
}


@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "folder", "splits"])
def test_images_that_rows_name(home: Path, monkeypatch: pytest.MonkeyPatch, shape: str, kind: str) -> None:
    base = Path("data/seen" if kind in ("folder", "splits") else "data")  # what names are relative to
    names = {
        "1.png": 1, "./2.png": 2, "a/3.png": 3, "../above/4.png": 4, "a/../5.png": 5, f"{home}/art/6.png": 6,
        "to/../7.png": 7, "../../outside/8.png": 8, "../above/../data/a/9.png": 9, "bl ank \u00e4.png": 10,
    }  # fmt: skip
    rows = [
        {"id": str(number), "prompt": f"{number}?", "answer": "red", "image": IMAGES[shape](name)}
        for name, number in names.items()
    ]
    source = _rows(kind, rows, "data")
    for folder in (base / "a", base / "../above", "outside", "far/away"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    (base / "to").symlink_to(home / "far/away")  # the system goes from there to its parent
    if kind in ("folder", "splits"):
        Path("data/data").symlink_to(home / "data")
    for name, number in names.items():
        picture(base / name, number)
    assert Path("far/7.png").is_file()
    allowed = {"image_root": str(home.parent)}
    config = moved(sends({"data.train": [SourceConfig(source, args=allowed)]}), home, monkeypatch)
    prompts = load_rows(config.data.train[0])
    assert [(int(prompt.id), prompt.reference, level(prompt.image)) for prompt in prompts] == [
        (number, "red", number) for number in names.values()
    ]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "folder"])
def test_every_image_of_a_row_is_sent(home: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """In lists, in ``images``, in parts of chat turns; encoded ones stay as they are."""
    pixels = picture("encoded.png", 9)
    Path("encoded.png").unlink()
    turns = [{"role": "user", "content": [{"type": "image", "image": "art/4.png"}, {"type": "text", "image": None}]}]
    row = {
        "prompt": "what?", "answer": "red",
        "image": {"bytes": pixels if kind != "jsonl" else None, "path": "art/none.png" if kind != "jsonl" else "art/0.png"},
        "images": [{"path": "art/1.png"}, {"path": f"{home}/art/2.png"}],
        "messages": turns,
    }  # fmt: skip
    for number in range(5):
        picture(f"art/{number}.png", number)
    source = _rows(kind, [row])
    if kind == "folder":
        Path("art").rename("seen/art")
        Path("art").symlink_to("seen/art")
    config = moved(sends({"data.train": [SourceConfig(source)]}), home, monkeypatch)
    from rl.data.files import read_rows

    path = Path(config.data.train[0].source)
    ((_, there),) = read_rows(path)
    base = path if path.is_dir() else path.parent
    for number, name in (
        (1, there["images"][0]["path"]), (2, there["images"][1]["path"]),
        (4, there["messages"][0]["content"][0]["image"]),
    ):  # fmt: skip
        assert not Path(name).is_absolute() and level(str(base / name)) == number
    assert there["image"]["bytes"] == (pixels if kind != "jsonl" else None) and there["answer"] == "red"


def test_images_in_other_columns_and_chats(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of them there: what is named by an absolute path is named by a relative one."""
    here = f"{home}/art/1.png"
    picture(here, 1)
    parts = [
        {"type": "image_url", "image_url": {"url": here}}, {"type": "image", "source": {"path": here}},
        {"type": "text", "text": here},
    ]  # fmt: skip
    turns = [
        {"role": "user", "content": parts},
        {"role": "user", "content": parts[0]},
        {"role": "user", "content": here},
    ]
    row = {
        "answer": "1", "prompt": json.dumps(turns), "messages": turns, "image_path": here, "pictures": [here, here],
        "thumbnail": {"bytes": None, "path": here}, "more": [{"bytes": None, "path": here}], "note": here,
        "other": {"path": here}, "img": "none.png", "question": '[{"content": ',
    }  # fmt: skip
    Path("train.jsonl").write_text(json.dumps(row) + "\n[]\nnot JSON\n")
    config = moved(sends({"data.train": [SourceConfig("train.jsonl", limit=1)]}), home, monkeypatch)
    first, *others = Path(config.data.train[0].source).read_text().splitlines()
    there = json.loads(json.dumps(row).replace(here, "art/1.png"))
    stay = {"note": here, "other": {"path": here}}
    parts[2] = {"type": "text", "text": here}
    there |= stay
    for messages in (there["messages"], chat := json.loads(there["prompt"])):
        messages[0]["content"][2]["text"], messages[2]["content"] = here, here
    assert json.loads(first) == there | {"prompt": json.dumps(chat)} and others == ["[]", "not JSON"]


PLACES: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "beside a turn": lambda path: {"messages": [{"role": "user", "content": "Which?", "images": [path]}]},
    "beside a turn, alone": lambda path: {"messages": [{"role": "user", "content": "Which?", "image": path}]},
    "beside a turn in a text": lambda path: {"prompt": json.dumps([{"role": "user", "content": "?",
    "images": [{"path": path}]}])},
    "in a chat in a mapping": lambda path: {"prompt": json.dumps({"messages": [{"role": "user",
    "content": [{"type": "image", "image": path}, "?"]}]})},
    "multi_modal_data": lambda path: {"question": "?", "multi_modal_data": {"image": [path]}},
    "multi_modal_data, stored": lambda path: {"question": "?", "multi_modal_data": {"images": [{"bytes": None, "path": path}]}},
    "extra_info": lambda path: {"question": "?", "extra_info": {"image": path, "level": 3}},
    "Image": lambda path: {"question": "?", "Image": path}, "imgs": lambda path: {"question": "?", "imgs": [path]},
    "image_0": lambda path: {"question": "?", "image_0": path}, "file_name": lambda path: {"question": "?", "file_name": path},
    "screenshot": lambda path: {"question": "?", "screenshot": {"path": path}},
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_image_is_sent_from_every_place_that_is_read(
    home: Path, monkeypatch: pytest.MonkeyPatch, kind: str, place: str
) -> None:
    name = f"{home}/art/1.png"
    picture(name, 1)
    source = _rows(kind, [{**PLACES[place](name), "answer": "red"}])
    config = moved(sends({"data.train": [SourceConfig(source)]}), home, monkeypatch)
    (prompt,) = load_rows(config.data.train[0])
    assert level(prompt.image) == 1


@pytest.mark.parametrize("wrapped", ["{}", '{{"version": 1, "data": {}}}', '{{"rows": {}}}'])
def test_rows_in_one_json_file(tmp_path: Path, wrapped: str) -> None:
    from cluster.jobs.rows import write_renamed

    (tmp_path / "rows.json").write_text(wrapped.format('[{"image": "/a/1.png"},\n {"prompt": "/a/1.png"}]'))
    write_renamed(tmp_path / "rows.json", tmp_path / "there.json", {"/a/1.png": "1.png"})
    assert json.loads((tmp_path / "there.json").read_text()) == json.loads(
        wrapped.format('[{"image": "1.png"}, {"prompt": "/a/1.png"}]')
    )


def test_rows_that_name_other_images_are_else_the_same(home: Path) -> None:
    """Types, other columns and other lines stay to the byte; what a column is called or says is not looked at elsewhere."""
    picture("1.png", 5)
    line = '{"prompt": "a",  "answer": 1.10, "note": "1.png"}\n'
    Path("train.jsonl").write_text(
        line + "\n" + json.dumps({"prompt": "\U0001f600 \u00e4", "image": f"{home}/1.png"}) + "\n"
    )
    schema = pa.schema(
        [("prompt", pa.large_string()), ("image", pa.large_string()), ("n", pa.float32())], {"made": "here"}
    )
    pq.write_table(pa.Table.from_pylist([{"prompt": "a", "image": f"{home}/1.png", "n": 0.1}], schema), "t.parquet")
    Path("train.jsonl").chmod(0o444)
    shipment = sends({"data.val": [SourceConfig("t.parquet")]})
    work = home.parent / "work"
    work.mkdir()
    shipment.write(work)
    train, val = (work / part[0].source for part in (shipment.config.data.train, shipment.config.data.val))
    first, second, third = train.read_text().splitlines(keepends=True)
    assert (first, second) == (line, "\n") and json.loads(third) == {"prompt": "\U0001f600 \u00e4", "image": "1.png"}
    table = pq.read_table(val)
    assert table.schema.equals(schema, check_metadata=True) and table.column("image").to_pylist() == ["1.png"]
    assert Path("train.jsonl").read_text().splitlines()[2].endswith(f'{home}/1.png"}}')


@pytest.mark.parametrize("image", ["gone.png", {"path": "gone.png"}, ["gone.png"]])
def test_an_image_that_is_not_here(home: Path, image: Any) -> None:
    rows = [{"prompt": "?", "answer": "1"}, {"prompt": "!", "answer": "1", "images": image}]
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        DataError, match=r"^data.train\[0\].source: train.jsonl: row 2: image gone.png: no such file here"
    ):
        sends()
    assert sends({"data.train": [SourceConfig("train.jsonl", limit=1)]})  # it is not read, then
    assert sends(shared=(home,))


@pytest.mark.parametrize(
    "image",
    [
        "/far/away/1.png", "https://host/1.png", "data:image/png;base64,xyz", "", None, "x" * 9000, [[[0, 0, 0]]],
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    ],
)  # fmt: skip
def test_images_that_are_no_files_here(home: Path, image: Any) -> None:
    Path("train.jsonl").write_text(json.dumps({"prompt": "?", "answer": "1", "image": image}) + "\n")
    shipment = sends()
    assert not shipment.renamed and not [place for place in shipment.files if "png" in place]


def test_images_on_a_shared_disk_stay_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture("../disk/1.png", 3)
    Path("train.jsonl").write_text(json.dumps({"prompt": "?", "answer": "1", "image": "../disk/1.png"}) + "\n")
    shipment = sends(shared=(Path("../disk"),))
    assert not [place for place in shipment.files if place.endswith("disk/1.png")]
    config = moved(shipment, home, monkeypatch)
    assert load_rows(config.data.train[0])[0].image == str(home.parent / "disk" / "1.png")


# ---- folders of weights


def test_adapter_and_policy_are_found_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.run import preflight
    from policies import load_policy, lora
    from tests.toys import toy_folder

    policy = load_policy(toy_folder())
    lora.attach(policy, rank=2, alpha=4.0)
    lora.save_adapter(policy, home / "adapters" / "first")
    monkeypatch.setenv("REWARD_KEY", "x")
    config = moved(sends({"learner.lora.path": "adapters/first"}), home, monkeypatch)
    inputs = preflight.check(config, needs_train=True, needs_val=True)
    assert len(inputs.train[0]) == len(inputs.val) == 4
    assert not Path(str(config.learner.lora.path)).is_absolute()
    lora.load_adapter(load_policy(config.policy.path), Path(str(config.learner.lora.path)))


def test_a_checkpoint_to_go_on_from(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another place it is sent; of the runs' folder it is where the runs are."""
    put("old/global_step_3/manifest.json", "runs/first/checkpoints/global_step_2/manifest.json")
    own = sends({"resume_mode": "path", "resume_path": "runs/first/checkpoints/global_step_2"})
    assert own.config.resume_path == str(home / "runs/first/checkpoints/global_step_2")
    assert not [place for place in own.files if "global_step" in place]
    assert sends({"resume_mode": "path", "resume_path": "runs/not/here/yet"}).config.resume_path == str(
        home / "runs/not/here/yet"
    )
    with pytest.raises(ConfigError, match="^resume_path=old/global_step_4: no such file or folder here"):
        sends({"resume_mode": "path", "resume_path": "old/global_step_4"})
    config = moved(
        sends({"resume_mode": "path", "resume_path": "old/global_step_3", "output_dir": "."}), home, monkeypatch
    )
    assert config.resume_path == str(home / "old/global_step_3")  # all of the folder is for outputs here


def test_a_checkpoint_of_another_place_is_sent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("old/global_step_3/manifest.json")
    config = moved(sends({"resume_mode": "path", "resume_path": "old/global_step_3"}), home, monkeypatch)
    assert Path(str(config.resume_path), "manifest.json").is_file() and str(config.resume_path).endswith(
        "/global_step_3"
    )


def test_links_that_lead_back_have_an_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("lists/en.csv", "lists/inner/de.csv")
    Path("lists/inner/back").symlink_to("..")
    Path("lists/dangling").symlink_to("nowhere")
    config = moved(sends({KWARGS: {"a": "./lists"}}), home, monkeypatch)
    folder = Path(config.custom_reward_function.reward_kwargs["a"])
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.csv")) == ["en.csv", "inner/de.csv"]


def test_a_file_that_cannot_be_copied_is_one_line(home: Path) -> None:
    put("lists/en.csv")
    os.mkfifo("lists/pipe")
    with pytest.raises(ConfigError, match="lists: cannot be copied to be sent: .*pipe") as told:
        sends({KWARGS: {"a": "./lists"}}).write(home.parent)
    assert "\n" not in str(told.value)

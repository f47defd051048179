"""The manual says nothing that is not there: its commands, settings, metrics and files exist, and its commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests import words
from tests.manual import PAGES, ROOT, TUTORIALS, Block, blocks, indented, named

OTHERS = tuple(page for page in PAGES if page not in TUTORIALS)
KINDS = {"sh", "python", "yaml", "toml", "json", "text"}
MOST_WORDS, MOST_OF_README = 1500, 1000
# Made from the code, tables of measurements, or lists.
LONG = {
    "docs/rewards_reference.md", "docs/health.md", "docs/gym.md", "docs/results.md", "docs/measurements/2026-11.md",
}  # fmt: skip


def commands(page: Path) -> Iterator[Block]:
    return (block for block in blocks(page) if block.kind == "sh")


def runs(page: Path) -> list[Block]:
    return [block for block in commands(page) if block.reason is None]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_says_what_it_is(page: Path) -> None:
    assert [str(block) for block in blocks(page) if block.kind not in KINDS] == []
    assert list(indented(page)) == []
    assert [str(block) for block in blocks(page) if block.reason is not None and len(block.reason.split()) < 3] == []


def test_every_block_of_commands_is_run_or_says_why_not(record_property) -> None:
    """Prints the numbers. A block that is run is in ``test_its_commands_run`` or in a tutorial's test."""
    found = [block for page in PAGES for block in commands(page)]
    ran = [block for block in found if block.reason is None]
    print(f"blocks of commands in the manual: run {len(ran)}, marked {len(found) - len(ran)}")
    record_property("blocks_run", len(ran))
    record_property("blocks_marked", len(found) - len(ran))
    assert len(ran) > 25 and {block.page for block in ran} <= {*TUTORIALS, *(page for page in OTHERS if runs(page))}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_exists_with_its_options_and_settings(page: Path) -> None:
    """Also of those that are not run, and of those that stand in a sentence."""
    wrong: list[str] = []
    for block in commands(page):
        for command in words.simple_commands(block.body):
            wrong += [f"{block}: {mistake}" for mistake in words.mistakes(command)]
    for code in spans(page):
        if re.match(r"(?:unigrpo|make|python -m) [\w-]", code) and not re.search(r"\.\.\.|[{|]", code):
            for command in words.simple_commands(code):
                wrong += words.mistakes(command)
    assert wrong == []


def spans(page: Path) -> list[str]:
    """Code within sentences and tables, without what stands in blocks."""
    bare = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", bare)]


SECTIONS = ("policy", "data", "rollout", "evaluation", "rewards", "custom_reward_function", "judge", "learner", "sft", "cluster",
            "tracking", "health")  # fmt: skip
FOLDERS = ("rl/", "rewards/", "policies/", "cluster/", "tests/", "docs/", "examples/", "benchmarks/", "install/")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_it_names_is_there(page: Path) -> None:
    """Settings, files, metrics, targets of make."""
    assert [code for code in spans(page) if names_nothing(code)] == []


def names_nothing(code: str) -> bool:
    open_part = re.search(r"[*{}<>…]|\.\.\.|\b[A-Z]{2,}\b", code) is not None
    setting = re.fullmatch(r"([a-z_]+)((?:\.\w+)+)(?:[=:].*)?", code)
    if (
        setting
        and setting[1] in SECTIONS
        and not code.endswith((".py", ".md", ".yaml", ".json", ".log", ".html", ".png", ".db"))
    ):
        name = setting[1] + setting[2]
        return not (words.is_setting(name) or is_python(name))
    if "/" in code and " " not in code:
        if code.startswith(FOLDERS) and words.is_file(code):
            return False
        if code.partition("/")[0] in words.metric_groups() and not open_part:
            return not words.is_metric(code)
        return code.startswith(FOLDERS) and not open_part and not words.is_file(code)
    return False


def is_python(name: str) -> bool:
    """A module of ours, or a name that one of its files has."""
    module, _, last = name.rpartition(".")
    if words.is_module(name) or (ROOT / name.replace(".", "/")).is_dir():
        return True
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.is_file() and re.search(rf"\b{last}\b", file.read_text()) is not None


@pytest.mark.parametrize("page", OTHERS, ids=named)
def test_a_page_is_short(page: Path) -> None:
    """Words of the whole page, with its tables and its code."""
    count = len(re.sub(r"<!--.*?-->", "", page.read_text("utf-8"), flags=re.S).split())
    most = MOST_OF_README if page.name == "README.md" else MOST_WORDS
    assert named(page) in LONG or count <= most


# ---- running them


TRAIN = (
    '{"id": "a", "prompt": "What is 2 + 3?", "answer": "5"}\n{"id": "b", "prompt": "What is 4 + 4?", "answer": "8"}\n'
)
RECIPE = """
base: tiny
name: mine
steps: 1
data: {train: [{source: train.jsonl}], val: [{source: val.jsonl}]}
rollout: {batch_size: 2, n_samples_per_prompt: 4}
rewards: {mix: {text: {correctness: 2.0, format: 0.5}}}
cluster: {mode: inline}
"""


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder: rows, a recipe, a function. Pages call them by these names."""
    for name in ("train.jsonl", "mine.jsonl", "rows.jsonl"):
        (tmp_path / name).write_text(TRAIN)
    (tmp_path / "val.jsonl").write_text('{"id": "c", "prompt": "What is 1 + 6?", "answer": "7"}\n')
    for name in ("my.yaml", "mine.yaml"):
        (tmp_path / name).write_text(RECIPE)
    (tmp_path / "my.py").write_text(
        "def f(completions, scale=1):\n    return [scale * len(text) for text in completions]\n"
    )
    Image.new("RGB", (64, 64), "white").save(tmp_path / "photo.png")
    Image.new("L", (64, 64), 255).save(tmp_path / "mask.png")
    return tmp_path


def run(commands: str, home: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=home, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "page",
    [page for page in OTHERS if runs(page)],
    ids=named,
)
def test_its_commands_run(page: Path, home: Path, environment: dict[str, str]) -> None:
    """In order, in one folder, with the page's own files in it."""
    if any("runs/tiny" in block.body for block in runs(page)):
        run("unigrpo train --recipe my.yaml name=tiny steps=1", home, environment)
    for block in blocks(page):
        if block.title is not None:
            (home / block.title).write_text(block.body)
        elif block.kind == "sh" and block.reason is None:
            run(block.body, home, environment)

"""Every metric that the code names has one line of meaning, and no line is of a metric that no code names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from rl.tracking.metric_meanings import METRIC_MEANINGS, meaning_of

ROOT = Path(__file__).parents[3]
GROUPS = (
    "val critic rewards score_status rollouts rollout response_length actor staleness sft perf timing_s health health_value"
).split()
METRIC = re.compile(rf"(?:{'|'.join(GROUPS)})/[a-z_0-9/{{}}]*[a-z_0-9}}]|frac_[a-z_]+")
HOLES = {"what": "p50", "group.prompt.task": "task", "name": "reward", "part": "reward", "prompt.task": "task"}


def hole(name: str) -> str:
    return f"{{{name}}}"


def texts(path: Path) -> Iterator[str]:
    """A file's string constants outside docstrings, and its f-strings with what their holes hold."""
    tree = ast.parse(path.read_text("utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [
                hole(ast.unparse(part.value)) if isinstance(part, ast.FormattedValue) else ast.literal_eval(part)
                for part in node.values
            ]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs | inside:
            yield node.value


def named() -> dict[str, str]:
    """Metric -> the file that names it."""
    found = {}
    for package in ("rl", "cluster"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for text in texts(path):
                filled = text
                for name, part in HOLES.items():
                    filled = filled.replace(hole(name), "p50" if part == "p50" else hole(part))
                whole = filled.count("/") > 1 or "{" not in filled or filled.startswith(("health", "score_status"))
                if whole and METRIC.fullmatch(filled) and path.name != "metric_meanings.py":
                    found[filled] = str(path.relative_to(ROOT))
    return found


def test_each_metric_in_the_code_has_a_meaning() -> None:
    found = named()
    assert len(found) > 45
    filled = {name: re.sub(r"\{(\w+)\}", lambda hole: "text" if hole[1] == "task" else "mean", name) for name in found}
    missing = {found[name]: name for name, example in filled.items() if meaning_of(example) is None}
    assert not missing


@cache
def code() -> str:
    paths = (path for package in ("rl", "cluster") for path in (ROOT / package).rglob("*.py"))
    return "\n".join(path.read_text("utf-8") for path in paths if path.name != "metric_meanings.py")


@pytest.mark.parametrize("name", METRIC_MEANINGS)
def test_each_meaning_is_of_a_metric_that_the_code_names(name: str) -> None:
    last = re.sub(r"\{\w+\}", "", name).rstrip("/_").rpartition("/")[2] or name.partition("/")[0]
    assert last in code()


def test_a_run_of_all_kinds_of_metrics() -> None:
    for name in ("val/text/score", "val/easy_vqa/score", "val/draw/composition/partial", "val/text/failed_timeout",
                 "rewards/clip/mean", "rewards/composition/partial/std", "rewards/text/sudoku_cells/advantage_share",
                 "timing_s/rewards/clip/p99", "health/dead_groups", "response_length/text/canvas_share"):  # fmt: skip
        assert meaning_of(name), name
    assert meaning_of("my/own") is None and meaning_of("actor/pg_losses") is None
    assert meaning_of("rewards/text/mean") == METRIC_MEANINGS["rewards/{task}/mean"]

"""A custom reward is given values, and returns numbers, of every kind that a file or a library has."""

from __future__ import annotations

import enum
import fractions
import types
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from rewards import load_reward
from rewards.custom import FunctionReward
from rewards.mix import RewardMix
from rl.types import RewardItem, Score
from tests.rewards.makers import text_item
from tests.rl.data.formats import prompt

PAIR = [text_item("a"), text_item("b")]
FIVE = "def reward(completions): return [5.0] * len(completions)\n"


def scored(value: Any) -> Score:
    """Alone, as verl asks; the same in a batch."""
    alone = FunctionReward(lambda solution_str: value, "mine.py").score(PAIR[:1])[0]
    first, second = FunctionReward(lambda completions: [value, 1.0], "mine.py").score(PAIR)
    assert (first.status, first.detail, second.value) == (alone.status, alone.detail, 1.0)
    return alone


# A value stays what the file has, whatever it looks like.

TRUTHS: list[Any] = [
    "[1, 2]", '{"a": 1}', "204", "true", "null", "NaN", "1e3", "{}", "[]", '"5"', "'5'", '["Paris"]', "\\boxed{5}", "línea\nzwei",
    204, 1e3, 2**62, -0.0, 0.1 + 0.2, [[], [1]], [0], [False], ["a", None], [1.5, 2.0], [["a", "b"], ["c"]], ["[1, 2]"],
    {"a": None, "b": 1}, {"1": "x", "2": "y"}, [{"name": "f", "args": {"x": [1, 2]}}], {"assert": ["f(1)==2"], "entry": "f"},
]  # fmt: skip


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("truth", TRUTHS, ids=str)
def test_a_ground_truth_is_what_the_file_has(tmp_path: Path, kind: str, truth: Any) -> None:
    seen: list[Any] = []

    def compute_score(data_source, solution_str, ground_truth, extra_info):
        seen.append(ground_truth)
        return 1.0

    for index, row in enumerate(
        ({"reward_model": {"ground_truth": truth}}, {"ground_truth": truth}, {"answer": truth})
    ):
        (tmp_path / str(index)).mkdir()
        asked = prompt(tmp_path / str(index), kind, {"prompt": "?", "data_source": "mine", **row})
        FunctionReward(compute_score, "f.py").score([RewardItem(asked, "5")])
    assert seen == [truth] * 3 and {type(value) for value in seen} == {type(truth)}


LOOPS: list[tuple[Any, str, float, str]] = [
    (["Paris", "paris, france"], "Paris", 1.0, "solution_str in ground_truth"),
    (["Paris", "paris, france"], "London", 0.0, "any(truth in solution_str for truth in ground_truth)"),
    (["Paris", "paris, france"], "P", 0.0, "solution_str in ground_truth"),
    (204, "204", 1.0, "int(solution_str) == ground_truth"), (204, "205", 0.0, "int(solution_str) == ground_truth"),
    ({"target": ["a"]}, "a", 1.0, "solution_str in ground_truth['target']"),
    ({"numbers": [3, 4], "target": 7}, "7", 1.0, "float(solution_str) == sum(ground_truth['numbers'])"),
    ([1, 2], "2", 1.0, "int(solution_str) in ground_truth"), ([1, 2], "1, 2", 0.0, "solution_str in map(str, ground_truth)"),
    (True, "yes", 1.0, "(solution_str == 'yes') is ground_truth"), (0.5, "0.5", 1.0, "float(solution_str) == ground_truth"),
    ([{"in": "1", "out": "2"}], "2", 1.0, "solution_str == ground_truth[0]['out']"),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(("truth", "answer", "value", "test"), LOOPS, ids=str)
def test_what_a_function_does_with_it(
    tmp_path: Path, kind: str, truth: Any, answer: str, value: float, test: str
) -> None:
    asked = prompt(tmp_path, kind, {"prompt": "?", "reward_model": {"style": "rule", "ground_truth": truth}})
    assert run_on(tmp_path, f"def reward(solution_str, ground_truth): return float({test})\n", asked, answer) == value
    pairs = "for solution_str, ground_truth in zip(completions, references)"
    trl = f"def reward(completions, references): return [float({test}) {pairs}]\n"
    assert run_on(tmp_path, trl, asked, answer) == value


def run_on(folder: Path, source: str, asked: Any, answer: str) -> float:
    (folder / "mine.py").write_text(source)
    return load_reward(f"{folder / 'mine.py'}:reward").score([RewardItem(asked, answer)])[0].value


BUILT_IN: list[tuple[Any, str, float | None]] = [
    (["5", "five"], "5", 1), (["5", "five"], "five", 1), ({"value": "5"}, "5", 1), ([1, 2], "1, 2", 1), ([1, 2], "1", 0),
    (["1/2", "0.5"], "\\frac12", 1), ({"final": 5}, "5", 1), (["A"], "(A)", 1), ([True], "true", 1), ([["5"]], "5", 1),
    ([["5", "five"]], "five", 1), ([{"value": "5"}], "5", 1), ([{"answer": "5"}, {"answer": "five"}], "five", 1),
    ([5, "five"], "5", 1), ([5, "five"], "five", 1), ([5, "five"], "5, five", 0), (["5", None], "null", 0),
    (["5", 6.5], "6.5", 1),
    ([[1, 2], [3, 4]], "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", 1), ({"value": ["5", "five"]}, "five", 1),
    (["7", "seven"], "7, seven", 0), (1e20, "10^{20}", 1), ([0.5], "1/2", 1), (["New York", "NYC"], "nyc", 1),
    ({"a": 1, "b": 2}, "1", None), ([["a", "b"], ["c"]], "a", None), ([{"a": 1, "b": 2}], "1", None), ([["a"], [1]], "a", None),
]  # fmt: skip


def _is_mixed(values: list[Any]) -> bool:
    return len({type(value[0] if isinstance(value, list) else value) for value in values}) > 1


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(("reference", "answer", "value"), BUILT_IN, ids=str)
def test_correctness_reads_lists_and_objects_or_says_so(
    tmp_path: Path, kind: str, reference: Any, answer: str, value: float | None
) -> None:
    if (
        kind == "parquet"
        and isinstance(reference, list)
        and not isinstance(reference[0], dict)
        and _is_mixed(reference)
    ):
        pytest.skip("a column has one type")
    asked = prompt(tmp_path, kind, {"question": "?", "answer": reference})
    (score,) = load_reward("correctness").score([RewardItem(asked, f"<think>x</think>{answer}")])
    if value is None:
        assert score.status == "invalid" and "the reference is" in score.detail and "\n" not in score.detail
    else:
        assert (score.value, score.status) == (value, "ok")


# A dict without ``score`` is a mistake; None is how a function says that there is no such reward.

Result = namedtuple("Result", "score extra")
WRONG: list[Any] = [
    {"reward": 1.0}, {"acc": 1.0}, {"scores": 1}, {"Score": 1.0}, {}, {"accuracy": 1.0}, {"metrics": {"acc": 1}}, {"Scores": [1]},
    {b"score": 1.0}, {"sc0re": 1}, {"score\n": 1}, {True: 1.0}, {"pred": "5", "gt": "5"}, {"score.value": 1}, {"extra": {}},
    OrderedDict(reward=1.0), defaultdict(float), Counter(a=1), types.MappingProxyType({"reward": 1}), {"é": 1},
    {f"k{index}": index for index in range(50)}, {"x" * 5000: 1}, {"SCORE": None}, {"score_": {"score": 1.0}}, {"return": 1},
]  # fmt: skip


@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:40])
def test_a_dict_without_score_is_invalid(value: Mapping[Any, Any]) -> None:
    score = scored(value)
    assert score.status == "invalid" and "a dict without 'score'" in score.detail and len(score.detail) < 900


@pytest.mark.parametrize(
    "value", [{"score": {}}, {"score": []}, {"score": "1"}, {"score": ""}, {"score": {"score": 1.0}}, {"score": b"1"}]
)
def test_a_score_that_is_no_number_is_invalid_and_named(value: Mapping[str, Any]) -> None:
    assert scored(value).status == "invalid" and "returned 'score': a" in scored(value).detail


@pytest.mark.parametrize(
    "value", [Result(1.0, 2), enum.Enum("E", {"A": 1.0}).A, enum.StrEnum("S", {"A": "1"}).A, "nan", "1"]
)
def test_what_only_looks_like_a_score_is_invalid(value: Any) -> None:
    assert scored(value).status == "invalid" and "not a number or None" in scored(value).detail


# Numbers of every library are numbers; those that no float can hold are one item's mistake.

NUMBERS: list[Any] = [
    np.bool_(True), np.array([5])[0] > 3, np.all([1, 1]), np.isclose(1, 1), np.array([1.0]).mean(), np.array([[1]]).sum(),
    np.array(1, dtype=">i4"), np.array(1, dtype="u1"), torch.tensor([1.0]).mean(), torch.tensor([True]).any(),
    torch.tensor(1, dtype=torch.uint8), torch.tensor(1.0, dtype=torch.float16), torch.eq(torch.tensor(1), 1),
    torch.nn.functional.softmax(torch.ones(1), 0)[0], torch.tensor(1.0).to_sparse(), Decimal(1), Decimal("1E0"),
    fractions.Fraction(3, 3), pd.Series([1.0]).mean(), pd.Series([True]).iloc[0], pd.Series([1]).sum(), np.uint64(1), True,
]  # fmt: skip


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: f"{type(value).__module__} {value!r}")
def test_numbers_of_every_library(value: Any) -> None:
    assert scored(value).value == 1.0 and scored({"score": value}).value == 1.0
    assert scored({"score": 0.5, "n": value}).parts == {"n": 1.0}


HUGE: list[Any] = [
    10**400, -(10**400), 10**309, 2**1024, 2**5000, 10**5000, Decimal("1e400"), Decimal("Infinity"), Decimal("NaN"),
    fractions.Fraction(10**400, 3), float("nan"), float("-inf"), np.float64("inf"), np.longdouble("1e4000"),
    torch.tensor(float("nan")), np.array(np.nan), 1j, np.complex64(1), torch.tensor(1j), fractions.Fraction(-(2**2000)),
]  # fmt: skip


@pytest.mark.parametrize("value", HUGE, ids=lambda value: type(value).__name__)
def test_what_no_float_can_hold_is_invalid_for_its_item(value: Any) -> None:
    for given in (value, {"score": value}, {"score": 1.0, "n": value}):
        assert scored(given).status == "invalid" and "allowed: a finite number" in scored(given).detail
    mine = FunctionReward(lambda completions: [value, 1.0], "f.py")
    mix = RewardMix({"text": {"length": 1.0, "format": 0.0}}, {"length": {"longest": 9}}, loaded={"format": mine})
    assert [score.calls["format"].status for score in mix.score(PAIR)] == ["invalid", "ok"]


NO_NUMBERS: list[Any] = [
    np.array([]), np.array([[1]]), torch.zeros(0), torch.zeros(1, 1), pd.Series([1.0]), pd.DataFrame({"a": [1]}), pd.NA, pd.NaT,
    "inf", bytearray(b"1"), iter([1]), (x for x in [1]), int, Ellipsis, NotImplemented, range(1), set(), memoryview(b"1"),
    np.datetime64("NaT"), lambda: 1,
]  # fmt: skip


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_invalid_for_its_item(value: Any) -> None:
    assert scored(value).status == "invalid" and "\n" not in scored(value).detail


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ((x for x in [1.0, 0.0]), "list(values)"), (map(float, [1, 0]), "list(values)"), (deque([1.0, 0.0]), "list(values)"),
        ({"a": 1.0, "b": 0.0}.values(), "list(values)"), (range(2), "list(values)"), (np.ones((1, 2)), "values.reshape(-1)"),
        (torch.ones(2, 1), "values.reshape(-1)"), ({0: 1.0, 1: 0.0}, ""), ("ab", ""), ({1.0, 0.0}, ""), (1.0, ""), (None, ""),
    ],
)  # fmt: skip
def test_what_is_no_list_says_how_to_make_one(values: Any, hint: str) -> None:
    for score in FunctionReward(lambda completions: values, "mine.py").score(PAIR):
        assert score.status == "invalid" and "not a list of 2 numbers" in score.detail
        assert score.detail.endswith(f"; return {hint}" if hint else "numbers")


# Columns by the names that rows have, beside ours, which are their plurals; a row's own ``references`` come before ours.
NAMED: list[tuple[dict[str, Any], str, Any]] = [
    ({"answer": "5"}, "references", "5"),
    ({"answer": "5", "references": ["a", "b"]}, "references", ["a", "b"]),
    ({"answer": "5", "references": None}, "references", None),
    ({"answer": "5", "references": "a"}, "references", "a"),
    ({"reward_model": {"ground_truth": [5]}}, "ground_truth", [5]),
    ({"ground_truth": {"a": 1}}, "ground_truth", {"a": 1}),
    ({"answer": 5}, "ground_truth", 5),
    ({"answer": "5", "source": "mine"}, "source", "mine"),
    ({"answer": "5"}, "source", "rows"),
    ({"answer": "5", "data_source": "verl"}, "source", "verl"),
    ({"answer": "5", "task": "text"}, "task", "text"),
    ({"answer": "5"}, "task", "text"),
    ({"answer": "5", "id": "row7"}, "id", "row7"),
    ({"answer": "5", "id": 7}, "id", "7"),
    ({"answer": "5", "level": [1, None]}, "level", [1, None]),
    ({"answer": "5", "solution": "w"}, "solution", "w"),
    ({"answer": "5", "ids": 9}, "ids", "from the run"),
    ({"answer": "5", "tasks": 9}, "tasks", "text"),
    ({"answer": "5", "prompts": 9}, "prompts", "?"),
    ({"answer": "5", "completions": 9}, "completions", "5"),
]


@pytest.mark.parametrize(("row", "column", "value"), NAMED, ids=str)
def test_a_function_may_name_a_column_as_its_rows_do(
    tmp_path: Path, row: dict[str, Any], column: str, value: Any
) -> None:
    seen: list[Any] = []
    space: dict[str, Any] = {"seen": seen}
    named = "" if column == "completions" else f"{column}=None,"
    exec(f"def f(completions, {named} **rest):\n    seen.append({column}[0])\n    return [1.0]", space)
    asked = prompt(tmp_path, "jsonl", {"prompt": "?", **row})
    (score,) = FunctionReward(space["f"], "f.py").score([RewardItem(asked, "5")])
    assert score.value == 1.0 and seen == [asked.id if value == "from the run" else value]

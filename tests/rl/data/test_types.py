"""Types survive from the file to a reward function, and a reference is the text that a person would write."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rewards.custom import FunctionReward
from rewards.registry import load_reward
from rewards.sandbox.wire import pack, unpack
from rl.data.values import is_missing, shown, text_of
from rl.errors import DataError
from rl.types import Prompt, RewardItem
from tests.rl.data.formats import ARROW, FORMATS, prompt, prompts, write

VALUES: list[Any] = [
    204, 0, -7, 2.5, True, False, "Paris", ["Paris", "paris, france"], [1, 2], [[1, 2], [3, 4]], [True, False], [0.1, 0.2],
    {"value": "5"}, {"target": ["a", "b"]}, {"tests": [{"in": "1", "out": "2"}, {"in": "3", "out": "4"}]}, ["x"],
    {"a": {"b": {"c": [1]}}}, 10**15, "  spaced  ", "007", {"numbers": [3, 4], "target": 7}, [{"k": 1}, {"k": 2}],
]  # fmt: skip


def given_to_functions(item: RewardItem) -> tuple[Any, Any]:
    """What verl's ground_truth and TRL's references hold, also after the way to an isolated child and back."""
    seen: list[Any] = []

    def compute_score(data_source, solution_str, ground_truth, extra_info):
        seen.append(ground_truth)
        return 1.0

    def reward(prompts, completions, references, **columns):
        seen.extend(references)
        return [1.0]

    for function in (compute_score, reward):
        FunctionReward(function, "f.py").score([item])
    return seen[0], seen[1]


def both_ways(prompt: Prompt) -> list[RewardItem]:
    item = RewardItem(prompt, "text")
    return [item, unpack(pack(item))]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("value", VALUES, ids=str)
def test_verls_ground_truth_is_what_the_file_has(tmp_path: Path, kind: str, value: Any) -> None:
    row = {"prompt": "?", "data_source": "mine", "reward_model": {"style": "rule", "ground_truth": value}}
    for item in both_ways(prompt(tmp_path, kind, row)):
        assert given_to_functions(item) == (value, value)
        assert type(given_to_functions(item)[0]) is type(value)
        assert item.prompt.metadata["reward_model"]["ground_truth"] == value


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("value", [value for value in VALUES if not isinstance(value, str)], ids=str)
@pytest.mark.parametrize("column", ["answer", "ground_truth", "reference", "solution"])
def test_trls_columns_are_what_the_file_has(tmp_path: Path, kind: str, column: str, value: Any) -> None:
    for item in both_ways(prompt(tmp_path, kind, {"prompt": "?", column: value})):
        assert item.prompt.metadata[column] == value and type(item.prompt.metadata[column]) is type(value)
        assert given_to_functions(item) == (value, value)


def test_a_columns_own_value_beats_what_was_taken_apart(tmp_path: Path) -> None:
    row = {"question": "?", "answer": "3 + 4 = 7 #### 7", "reward_model": {"ground_truth": " 7 #### "}}
    only = prompt(tmp_path, "jsonl", row)
    assert (only.reference, only.ground_truth) == ("7", " 7 #### ")
    assert prompt(tmp_path, "jsonl", {"question": "?", "answer": "3 + 4 = 7 #### 7"}).ground_truth == "7"


def test_verls_extra_info_has_the_rows_own_keys(tmp_path: Path) -> None:
    seen = {}

    def compute_score(data_source, solution_str, ground_truth, extra_info):
        seen.update(extra_info)
        return 1.0

    row = {
        "id": "r1",
        "prompt": "?",
        "answer": "5",
        "level": 3,
        "extra_info": {"index": 7, "split": "train", "level": 4},
    }
    FunctionReward(compute_score, "f.py").score([RewardItem(prompt(tmp_path, "parquet", row), "5")])
    assert (seen["index"], seen["split"], seen["level"], seen["id"], seen["answer"]) == (7, "train", 4, "r1", "5")


def test_a_generators_prompt_gives_its_reference() -> None:
    item = RewardItem(Prompt("a", "text", (), reference="7"), "7")  # pyright: ignore[reportArgumentType]
    assert given_to_functions(item) == ("7", "7")


ARROW_VALUES = [
    (pa.float32(), 0.1, 0.1, "0.1"), (pa.float32(), 0.2, 0.2, "0.2"), (pa.float32(), 0.3, 0.3, "0.3"),
    (pa.float32(), 1.1, 1.1, "1.1"), (pa.float32(), 3.14, 3.14, "3.14"), (pa.float32(), 99.9, 99.9, "99.9"),
    (pa.float32(), 0.001, 0.001, "0.001"), (pa.float32(), 2.5, 2.5, "2.5"), (pa.float32(), 1e-7, 1e-7, "1e-07"),
    (pa.float32(), 16777216.0, 16777216.0, "16777216.0"), (pa.float16(), np.float16(0.1), 0.1, "0.1"),
    (pa.float16(), np.float16(3.14), 3.14, "3.14"), (pa.float16(), np.float16(99.9), 99.9, "99.9"),
    (pa.float64(), 0.1, 0.1, "0.1"), (pa.float64(), 1 / 3, 1 / 3, "0.3333333333333333"),
    (pa.list_(pa.float32()), [0.1, 0.7], [0.1, 0.7], "[0.1, 0.7]"),
    (pa.large_list(pa.float32()), [0.1], [0.1], "[0.1]"), (pa.list_(pa.float32(), 2), [0.1, 0.7], [0.1, 0.7], "[0.1, 0.7]"),
    (pa.list_(pa.list_(pa.float16())), [[np.float16(0.1)]], [[0.1]], "[[0.1]]"),
    (pa.struct({"value": pa.float32()}), {"value": 0.1}, {"value": 0.1}, '{"value": 0.1}'),
    (pa.struct({"a": pa.list_(pa.struct({"b": pa.float32()}))}), {"a": [{"b": 0.3}]}, {"a": [{"b": 0.3}]}, '{"a": [{"b": 0.3}]}'),
    (pa.int8(), 5, 5, "5"), (pa.uint64(), 2**63, 2**63, str(2**63)), (pa.bool_(), True, True, "true"),
    (pa.decimal128(8, 2), Decimal("3.50"), Decimal("3.50"), "3.50"),
    (pa.decimal256(40, 0), Decimal(10**30), Decimal(10**30), str(10**30)),
    (pa.list_(pa.decimal128(8, 2)), [Decimal("3.50")], [Decimal("3.50")], "[3.5]"),
    (pa.date32(), date(2024, 5, 1), date(2024, 5, 1), "2024-05-01"),
    (pa.timestamp("us"), datetime(2024, 5, 1, 12, 30), datetime(2024, 5, 1, 12, 30), "2024-05-01 12:30:00"),
    (pa.timestamp("ns"), datetime(2024, 5, 1), datetime(2024, 5, 1), "2024-05-01"),
    (pa.timestamp("s"), datetime(2024, 5, 1), datetime(2024, 5, 1), "2024-05-01"),
    (pa.list_(pa.timestamp("ns")), [datetime(2024, 5, 1)], [datetime(2024, 5, 1)], '["2024-05-01"]'),
    (pa.time64("us"), time(12, 30), time(12, 30), "12:30:00"),
    (pa.duration("ns"), timedelta(seconds=90), timedelta(seconds=90), "0:01:30"),
    (pa.binary(), b"5", b"5", "5"), (pa.large_binary(), b"5", b"5", "5"), (pa.binary(1), b"5", b"5", "5"),
    (pa.binary(), "fünf".encode(), "fünf".encode(), "fünf"), (pa.large_string(), "5", "5", "5"),
    (pa.dictionary(pa.int32(), pa.string()), "red", "red", "red"),
    (pa.map_(pa.string(), pa.float32()), [("a", 0.1)], {"a": 0.1}, '{"a": 0.1}'),
]  # fmt: skip


@pytest.mark.parametrize("kind", ARROW)
@pytest.mark.parametrize(("type_", "given", "value", "text"), ARROW_VALUES, ids=str)
def test_arrows_types(tmp_path: Path, kind: str, type_: pa.DataType, given: Any, value: Any, text: str) -> None:
    schema = pa.schema({"question": pa.string(), "answer": type_})
    if kind == "folder" and (pa.types.is_map(type_) or pa.types.is_fixed_size_binary(type_)):
        pytest.skip("datasets has no such type")
    for item in both_ways(prompt(tmp_path, kind, {"question": "?", "answer": given}, schema)):
        assert item.prompt.reference == text
        assert item.prompt.metadata["answer"] == value and type(item.prompt.metadata["answer"]) is type(value)
        assert item.prompt.ground_truth == (text if isinstance(value, str | bytes) else value)


@pytest.mark.parametrize("kind", ARROW)
@pytest.mark.parametrize("type_", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_a_number_in_its_own_precision_is_right(tmp_path: Path, kind: str, type_: pa.DataType) -> None:
    """Answers as people write them: what a column of that type was made from."""
    texts = ["0.1", "0.2", "0.3", "1.1", "3.14", "99.9", "0.001", "2.5", "12.75", "0.7", "1.9", "64.5"]
    rows = [{"question": text, "answer": np.float16(text) if type_ == pa.float16() else float(text)} for text in texts]
    found = prompts(write(tmp_path, kind, rows, pa.schema({"question": pa.string(), "answer": type_})))
    scores = load_reward("correctness").score([
        RewardItem(prompt, f"<think>x</think>{text}") for prompt, text in zip(found, texts, strict=True)
    ])  # fmt: skip
    assert [score.value for score in scores] == [1.0] * len(texts)


@pytest.mark.parametrize(
    "text", ["NaN", "[NaN]", "[null, NaN]", '{"value": NaN}', "null", '""', '"  "', "[]", "{}", '["", null]']
)
@pytest.mark.parametrize("column", ["answer", "reference", "solution", "ground_truth"])
def test_a_value_that_is_missing_is_no_reference(tmp_path: Path, text: str, column: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"question": "?", "{column}": {text}}}\n')
    with pytest.raises(DataError, match="row 1: no reference for task text"):
        prompts(path)
    path.write_text(f'{{"question": "?", "{column}": {text}, "reward_model": {{"ground_truth": 7}}}}\n')
    assert prompts(path)[0].reference == "7"


@pytest.mark.parametrize("kind", ARROW)
@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (pa.float64(), float("nan")), (pa.float32(), float("nan")), (pa.float16(), np.float16("nan")), (pa.float64(), None),
        (pa.int64(), None), (pa.string(), None), (pa.list_(pa.float64()), [float("nan")]), (pa.list_(pa.string()), []),
        (pa.struct({"a": pa.float32()}), {"a": float("nan")}), (pa.null(), None), (pa.timestamp("ns"), None),
    ],
    ids=str,
)  # fmt: skip
def test_a_column_without_a_value_is_no_reference(tmp_path: Path, kind: str, type_: pa.DataType, value: Any) -> None:
    rows = [{"question": "?", "answer": value, "level": float("nan")}]
    schema = pa.schema({"question": pa.string(), "answer": type_, "level": pa.float64()})
    path = write(tmp_path, kind, rows, schema)
    with pytest.raises(DataError, match="row 1: no reference for task text"):
        prompts(path)


@pytest.mark.parametrize("kind", ["parquet"])
def test_nan_of_pandas_is_none_wherever_it_stands(tmp_path: Path, kind: str) -> None:
    import pandas as pd

    frame = pd.DataFrame({"question": ["a", "b"], "answer": [5, None], "note": ["x", None], "level": [None, 2.0]})
    frame.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="row 2: no reference"):
        prompts(tmp_path / "rows.parquet")
    frame.fillna({"answer": 6}).to_parquet(tmp_path / "rows.parquet")
    first, second = prompts(tmp_path / "rows.parquet")
    assert (first.reference, second.reference) == ("5.0", "6.0")
    assert (first.metadata["level"], second.metadata["note"], second.metadata["level"]) == (None, None, 2.0)


@pytest.mark.parametrize("kind", ARROW)
@pytest.mark.parametrize("column", ["answer", "question", "id", "reference", "solution", "data_source"])
def test_bytes_that_are_no_text_are_one_line(tmp_path: Path, kind: str, column: str) -> None:
    row = {"question": "?", "answer": "5", column: b"\xff\xfe5"}
    types = {name: pa.binary() if isinstance(value, bytes) else pa.string() for name, value in row.items()}
    with pytest.raises(DataError, match=rf"row 1: column {column}: bytes that are no UTF-8 text: b'\\xff"):
        prompt(tmp_path, kind, row, pa.schema(types))


def test_text_of_a_column_that_is_none_is_one_line(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    column = pa.Array.from_buffers(pa.string(), 2, pa.array([b"fine", b"\xffbad"], pa.binary()).buffers())
    pq.write_table(pa.table({"question": column, "answer": ["1", "2"]}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="row 2: column question: not UTF-8 text"):
        prompts(tmp_path / "rows.parquet")


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        (["5", "five"], ["5", "five"], ["6", "5, five"]), (["Paris", "paris, france"], ["Paris", "paris"], ["London", "P"]),
        (["5"], ["5"], ["6"]), ({"value": "5"}, ["5"], ["6"]), ([5], ["5"], ["6"]), ([1, 2, 3], ["1, 2, 3"], ["1", "2"]),
        (204, ["204"], ["203"]), (0.5, ["0.5", "1/2"], ["5"]), ({"target": ["4", "four"]}, ["4", "four"], ["5"]),
        (["5", None, ""], ["5"], ["None", "null"]), ({"value": "5", "unit": None}, ["5"], ["unit"]),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", FORMATS)
def test_correctness_takes_any_of_a_list_of_texts(
    tmp_path: Path, kind: str, reference: Any, right: list, wrong: list
) -> None:
    only = prompt(tmp_path, kind, {"question": "?", "answer": reference})
    reward = load_reward("correctness")
    for answers, value in ((right, 1.0), (wrong, 0.0)):
        scores = reward.score([RewardItem(only, f"<think>x</think>{answer}") for answer in answers])
        assert [score.value for score in scores] == [value] * len(answers), answers


def test_exact_correctness_takes_any_of_a_list_and_json_as_its_own_text(tmp_path: Path) -> None:
    reward = load_reward({"name": "correctness", "kind": "exact"})
    for reference, answer, value in [
        (["a b", "c"], "A  b.", 1.0), (["a b", "c"], "C", 1.0), (["a b", "c"], "b", 0.0), ("c", "c", 1.0),
        ('{"x": 1, "y": 2}', '{"x": 1, "y": 2}', 1.0), ('{"x": 1, "y": 2}', '{"x": 1}', 0.0), ("[]", "[]", 1.0),
    ]:  # fmt: skip
        only = prompt(tmp_path, "jsonl", {"question": "?", "answer": reference})
        assert reward.score([RewardItem(only, f"<think>x</think>{answer}")])[0].value == value, (reference, answer)


def test_any_of_several_grids() -> None:
    grids = ["1234341221434321", "4321341221431234"]
    reward = load_reward("correctness")
    for answer, value in ((grids[0], 1.0), (grids[1], 1.0), ("1234341221434322", 0.0)):
        item = RewardItem(Prompt("a", "text", (), reference=json.dumps(grids)), answer)  # pyright: ignore
        assert reward.score([item])[0].value == value


WIRED: list[Any] = [
    None, True, 5, 10**30, 0.1, "text", "\ud83d", [1, [2]], (1, 2), {"a": (1,)}, {1: "a", (1, 2): "b"}, {"$type": "mine"},
    b"\xff\x00", Decimal("3.50"), Decimal("NaN"), date(2024, 5, 1), datetime(2024, 5, 1, 12, 30, 1, 7), time(12, 30),
    timedelta(days=-1, microseconds=3), {1, 2}, [{"d": [date(2024, 1, 1)]}], float("inf"),
]  # fmt: skip


def test_an_isolated_function_gets_the_files_types(tmp_path: Path) -> None:
    """The real child process."""
    row = {"question": "?", "answer": 204, "tests": {"in": [1, 2]}, "when": datetime(2024, 5, 1), "raw": b"\xff"}
    only = prompt(tmp_path, "parquet", row)
    (tmp_path / "mine.py").write_text(
        "from datetime import datetime\n\n\ndef reward(completions, references, answer, tests, when, raw, **columns):\n"
        "    assert references == answer == [204] * 2 and tests[1] == {'in': [1, 2]}\n"
        "    assert when[0] == datetime(2024, 5, 1) and raw[0] == bytes([255])\n"
        "    return [float(int(text) == truth) for text, truth in zip(completions, references)]\n"
    )
    reward = load_reward({"name": "custom", "path": str(tmp_path / "mine.py"), "isolate": True})
    scores = reward.score([RewardItem(only, "204"), RewardItem(only, "205")])
    reward.called.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert [(score.value, score.detail) for score in scores] == [(1.0, ""), (0.0, "")]


def test_missing_values_and_shown_ones() -> None:
    assert all(map(is_missing, [None, "", " \n", b" ", float("nan"), [], {}, [None, ""], {"a": None}, ()]))
    assert not any(map(is_missing, [0, False, "0", b"0", 0.0, [0], {"a": False}, [[], 1]]))
    assert shown("a" * 800_000) == f"'{'a' * 80}'... (800,000 characters)"
    assert len(shown(list(range(100_000)))) < 100 and len(shown({"a": b"x" * 10_000})) < 100
    assert text_of(Decimal("1E+2")) == "100" and text_of(datetime(2024, 5, 1, 0, 0, 1)) == "2024-05-01 00:00:01"

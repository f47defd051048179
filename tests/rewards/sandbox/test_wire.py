"""Items on their way to a child process and back."""

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewards.sandbox.wire import from_json, to_json, typed, untyped
from rl.types import Task
from tests.rewards.makers import drawn_item, text_item


def test_an_item_survives_the_way_there():
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    item = drawn_item(picture)
    back = from_json(to_json(item))
    assert back.image is not None and np.array_equal(back.image, picture) and back.prompt.task is Task.DRAW
    assert from_json(to_json(text_item("<think>a</think>7"))) == text_item("<think>a</think>7")
    odd = text_item("x", metadata={"a": np.float32(1.5), 3: (1, {2}), "when": Path("x")})
    assert from_json(to_json(odd)).prompt.metadata == {"a": 1.5, 3: (1, {2}), "when": "x"}


WIRED: list[Any] = [
    None, True, 5, 10**30, 0.1, "text", "\ud83d", [1, [2]], (1, 2), {"a": (1,)}, {1: "a", (1, 2): "b"}, {"$type": "mine"},
    b"\xff\x00", Decimal("3.50"), Decimal("NaN"), date(2024, 5, 1), datetime(2024, 5, 1, 12, 30, 1, 7), time(12, 30),
    timedelta(days=-1, microseconds=3), {1, 2}, [{"d": [date(2024, 1, 1)]}], float("inf"),
]  # fmt: skip


@pytest.mark.parametrize("value", WIRED, ids=repr)
def test_the_wire_keeps_types(value: Any) -> None:
    back = untyped(json.loads(json.dumps(typed(value))))
    assert repr(back) == repr(value) and type(back) is type(value)


def test_the_wire_keeps_arrays() -> None:
    for array in (np.arange(6, dtype=np.uint8).reshape(2, 3), np.array([0.1], np.float32)):
        back = untyped(json.loads(json.dumps(typed({"a": array}))))["a"]
        assert back.dtype == array.dtype and (back == array).all()
    assert untyped(json.loads(json.dumps(typed(np.float64(2.5))))) == 2.5
    assert untyped(json.loads(json.dumps(typed(np.array([None, "a"], object))))) == [None, "a"]
    assert untyped(json.loads(json.dumps(typed(object)))) == str(object)

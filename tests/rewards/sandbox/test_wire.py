"""Items on their way to a child process and back: as they are, with their types."""

import datetime
import threading
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from rewards.sandbox.wire import pack, plain, unpack
from rl.errors import RewardError
from rl.types import Task
from tests.rewards.makers import drawn_item, text_item

ODD = {
    "number": np.float32(1.5),
    3: (1, {2}),
    "where": Path("x"),
    "price": Decimal("3.50"),
    "when": datetime.date(2026, 1, 2),
    "raw": b"5",
    "none": None,
    "deep": {"list": [1, [True, {"a": 10**30}]]},
    "text": "\ud83d \0 ü",
}


def test_an_item_survives_the_way_there():
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    back = unpack(pack(drawn_item(picture)))
    assert back.image is not None and np.array_equal(back.image, picture) and back.prompt.task is Task.DRAW
    item = text_item("<think>a</think>7", metadata=ODD, solution="so", rewards=("format",), source="mine")
    back = unpack(pack(item))
    assert back == item and {key: type(value) for key, value in back.prompt.metadata.items()} == {
        key: type(value) for key, value in ODD.items()
    }
    assert unpack(pack(text_item("x", metadata={"a": np.arange(3)}))).prompt.metadata["a"].tolist() == [0, 1, 2]


def test_what_cannot_travel_is_one_line():
    with pytest.raises(RewardError, match="cannot be sent to a child process: TypeError"):
        pack({"lock": threading.Lock()})


def test_json_holds_arrays_as_lists_and_anything_odd_as_its_text():
    found = plain(ODD)
    assert found["number"] == 1.5 and found["3"] == [1, [2]] and found["where"] == "x" and found["when"] == "2026-01-02"

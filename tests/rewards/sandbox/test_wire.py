"""Items on their way to a child process and back."""

from pathlib import Path

import numpy as np

from rewards.sandbox.wire import from_json, to_json
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

"""Text that is drawn and read again, and the distance between texts."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from rewards.base import is_absent
from rewards.pictures.ocr import asked_text, edit_distance, similarity
from rewards.registry import check_reward, load_reward
from rl.errors import RewardError
from rl.types import Message, Prompt, RewardItem, Task

READER = importlib.util.find_spec("rapidocr_onnxruntime") is not None
SHORT = st.text("abc", max_size=7)


def item(caption, drawn=None, **metadata):
    prompt = Prompt("row/1", Task.DRAW, (Message("user", caption),), metadata=metadata)
    return RewardItem(prompt, "", None if drawn is None else picture(drawn))


def picture(text):
    image = Image.new("RGB", (192, 64), "white")
    ImageDraw.Draw(image).text((16, 12), text, fill="black", font=ImageFont.load_default(size=32))
    return np.array(image)


def by_recursion(left, right):
    if not left or not right:
        return len(left) + len(right)
    change = by_recursion(left[1:], right[1:]) + (left[0] != right[0])
    return min(change, by_recursion(left[1:], right) + 1, by_recursion(left, right[1:]) + 1)


@given(SHORT, SHORT)
def test_the_distance_is_that_of_its_definition(left, right):
    assert edit_distance(left, right) == by_recursion(left, right)


def test_similarity_by_hand():
    assert edit_distance("kitten", "sitting") == 3 and similarity("kitten", "sitting") == pytest.approx(4 / 7)
    assert similarity("HEL LO", "hello") == 1.0 and similarity("HELLO", "hello", case=True) == 0.0
    assert similarity("", "hello") == 0.0 and similarity("xxxxx", "hello") == 0.0
    assert similarity("a" * 10_000_000, "a" * 500) == 1.0  # cut before it is compared


def test_which_text_is_asked_for():
    assert asked_text(item('a sign that says "OPEN" above \u201cLATE\u201d')) == "OPEN LATE"
    assert asked_text(item("it's a dog's sign with 'STOP'")) == "STOP"
    assert asked_text(item('a sign "OPEN"', text="CLOSED")) == "CLOSED"
    assert asked_text(item("a sign")) is None


def test_a_mistake_is_one_line_and_so_is_a_reader_that_is_not_installed(monkeypatch):
    with pytest.raises(RewardError, match="min_score=2; allowed: from 0 to 1"):
        check_reward({"name": "ocr", "min_score": 2})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        RewardError, match=r"^reward 'ocr': rapidocr-onnxruntime is not installed; pip install 'unigrpo\[ocr\]'$"
    ):
        check_reward("ocr")


if READER:  # the extra `ocr`

    def test_a_drawn_text_is_read():
        right, wrong, blank, none, missing = load_reward("ocr").score(
            [
                item('a card that says "HELLO"', "HELLO"),
                item('a card that says "HELLO"', "WORLD"),
                item('a card that says "HELLO"', ""),
                item("a card", "HELLO"),
                item('a card that says "HELLO"'),
            ]
        )
        assert right.value == 1.0 and right.parts["confidence"] > 0.9
        assert wrong.value == pytest.approx(0.2)  # one letter of five stays: the l
        assert blank.value == 0.0 and blank.usable
        assert is_absent(none) and missing.status.value == "invalid"

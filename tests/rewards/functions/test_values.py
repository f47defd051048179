"""What counts as a number from a user's function: in a list, in an array, in verl's dict, and beside its score."""

import fractions
import math
from collections import UserDict
from decimal import Decimal
from enum import IntEnum

import numpy as np
import pytest
import torch

from rewards.base import is_absent
from rewards.custom import FunctionReward
from rl.types import ScoreStatus
from tests.rewards.makers import text_item


class Level(IntEnum):
    HIGH = 3


class Awkward:
    def __float__(self):
        raise RuntimeError("no")


class Indexed:
    def __index__(self):
        return 4


NUMBERS = [
    (True, 1.0),
    (False, 0.0),
    (7, 7.0),
    (0.25, 0.25),
    (Level.HIGH, 3.0),
    (Indexed(), 4.0),
    (Decimal("0.1"), 0.1),
    (Decimal("-3"), -3.0),
    (fractions.Fraction(1, 4), 0.25),
    (10**30, 1e30),
    (np.bool_(True), 1.0),
    (np.array([1, 5])[0] > 3, 0.0),
    *(
        (np.dtype(name).type(3), 3.0)
        for name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g")
    ),
    (np.array(2.5), 2.5),
    (np.array(True), 1.0),
    (np.array(7, dtype=object), 7.0),
    (np.array(Decimal("1.5"), dtype=object), 1.5),
    (np.ma.array(2.0), 2.0),
    (torch.tensor(0.5), 0.5),
    (torch.tensor(True), 1.0),
    (torch.tensor(3), 3.0),
    (torch.tensor(1.5, dtype=torch.bfloat16), 1.5),
    (torch.tensor(2.0, requires_grad=True), 2.0),
    (torch.nn.Parameter(torch.tensor(4.0)), 4.0),
]
NO_NUMBERS = [
    (10**400, "an int that no float can hold"),
    (-(10**400), "an int that no float can hold"),
    (fractions.Fraction(10**400), "a Fraction that no float can hold"),
    (Decimal("1e999"), "inf"),
    (Decimal("NaN"), "nan"),
    (Decimal("sNaN"), "a Decimal without a float (ValueError)"),
    (math.nan, "nan"),
    (math.inf, "inf"),
    (-math.inf, "-inf"),
    (np.float32("nan"), "nan"),
    (np.longdouble("1e4000"), "inf"),
    (np.array(np.inf), "inf"),
    (torch.tensor(float("nan")), "nan"),
    (1j, "a complex, which is complex"),
    (complex(1, 0), "a complex, which is complex"),
    (np.complex64(1), "a complex64, which is complex"),
    (np.clongdouble(1), "a clongdouble, which is complex"),
    (np.array(1 + 0j), "a ndarray, which is complex"),
    (torch.tensor(1 + 0j), "a Tensor, which is complex"),
]  # fmt: skip
NOT_MEANT_AS_NUMBERS = [
    ("1.0", "a str"),
    (Awkward(), "an Awkward without a float (RuntimeError)"),
    (np.ma.masked, "a masked value"),
    (np.timedelta64(5, "ns"), "a timedelta64, which is a time"),
    (np.array("2020-01-01", dtype="M8[ns]"), "a ndarray, which is a time"),
    (torch.empty((), device="meta"), "a Tensor without a value"),
    (b"1", "a bytes"),
    (np.str_("1"), "a str_"),
    (np.array("1.0"), "a ndarray"),
    ([1.0], "a list"),
    ((1.0,), "a tuple"),
    (np.ones(1), "a ndarray of shape (1,) for row row/1, not one number: .item() gives it"),
    (np.ones((1, 1)), ".item() gives it"),
    (np.ones(2), "a ndarray of shape (2,) for row row/1, not one number"),
    (torch.ones(1), "a Tensor of shape (1,)"),
    (object(), "an object"),
    (len, "a builtin_function_or_method"),
]


def scored(value, other=1.0):
    """The scores of a batch of two, of which the first got ``value``."""
    return FunctionReward(lambda completions: [value, other], "mine.py").score([text_item("a"), text_item("b")])


def scored_alone(value):
    return FunctionReward(lambda solution_str: value, "mine.py").score([text_item("a")])[0]


@pytest.mark.parametrize(
    ("value", "number"),
    NUMBERS,
)
def test_a_number_is_one_in_every_place(value, number):
    assert [score.value for score in scored(value)] == [number, 1.0]
    assert scored_alone(value).value == number
    beside = scored_alone({"score": value, "other": value})
    assert beside.value == number and beside.parts == {"other": number}
    assert scored({"score": value})[0].value == number  # also in a batch


@pytest.mark.parametrize(("value", "said"), NO_NUMBERS + NOT_MEANT_AS_NUMBERS)
def test_anything_else_is_invalid_for_its_item_alone(value, said):
    bad, good = scored(value)
    assert bad.status is ScoreStatus.INVALID and said in bad.detail and math.isnan(bad.value) and good.value == 1.0
    assert len(bad.detail) < 200 and "\n" not in bad.detail
    for score in (scored_alone(value), scored_alone({"score": value})):
        assert score.status is ScoreStatus.INVALID and said in score.detail and "row row/1" in score.detail


@pytest.mark.parametrize(("value", "said"), NO_NUMBERS)
def test_also_as_another_number_of_verls_dict(value, said):
    score = scored_alone({"score": 1.0, "n": value})
    assert score.status is ScoreStatus.INVALID and f"returned 'n': {said}" in score.detail


@pytest.mark.parametrize("value", [value for value, _ in NOT_MEANT_AS_NUMBERS] + [None])
def test_other_things_in_verls_dict_are_left_out(value):
    score = scored_alone({"score": 1.0, "pred": value, "length": 3})
    assert score.value == 1.0 and score.parts == {"length": 3.0}


@pytest.mark.parametrize(
    "values",
    [
        (1.0, 0.0),
        np.array([1.0, 0.0]),
        np.array([5, 1]) > 3,
        np.array([1, 0], dtype=np.int8),
        np.array([Decimal(1), False], dtype=object),
        torch.tensor([1.0, 0.0]),
        torch.tensor([True, False]),
        torch.tensor([1.0, 0.0], requires_grad=True),
    ],
)
def test_a_whole_array_is_a_list(values):
    items = [text_item("a"), text_item("b")]
    assert [score.value for score in FunctionReward(lambda completions: values, "mine.py").score(items)] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones((2, 1)), "a ndarray of shape (2, 1), not a list of 2 numbers; return values.reshape(-1)"),
        (torch.tensor(1.0), "a Tensor, not a list of 2 numbers"),
        (np.ones(3), "3 values for 2 completions"),
        ({"score": [1.0, 0.0]}, "a dict, not a list"),
        ({1.0, 0.0}, "a set, not a list"),
        ("10", "a str, not a list"),
    ],
)
def test_what_is_no_list_of_numbers_is_one_line(values, said):
    items = [text_item("a"), text_item("b")]
    for score in FunctionReward(lambda completions: values, "mine.py").score(items):
        assert score.status is ScoreStatus.INVALID and said in score.detail


WRONG_DICTS = [
    {"reward": 1.0}, {"acc": 1.0}, {"scores": 1}, {"Score": 1.0}, {"SCORE": 1.0}, {" score": 1.0}, {"score ": 1.0},
    {"value": 1.0}, {"result": True}, {"final_score": 0.5}, {"reward_score": 0.5}, {"rewards": [1.0]}, {"points": 3},
    {0: 1.0}, {None: 1.0}, {("score",): 1.0}, {"correct": True, "pred": "7"}, {"score_": 1.0}, {"overall": {"score": 1.0}},
    {"acc": np.bool_(True), "format": 1.0}, UserDict({"reward": 1.0}),
]  # fmt: skip


@pytest.mark.parametrize("value", WRONG_DICTS, ids=repr)
def test_a_dict_without_score_names_its_keys_and_the_right_one(value):
    for score in (scored_alone(value), scored(value)[0]):
        assert score.status is ScoreStatus.INVALID and "a dict without 'score' for row row/1" in score.detail
        assert all(repr(key) in score.detail for key in value) and "return {'score': NUMBER}" in score.detail
        assert "\n" not in score.detail
    assert "its keys are none" in scored_alone({}).detail
    assert scored(value)[1].value == 1.0


def test_none_is_no_reward_also_as_the_score_of_a_dict():
    assert is_absent(scored_alone(None)) and is_absent(scored_alone({"score": None}))
    assert is_absent(scored(None)[0]) and is_absent(scored_alone(np.array(None))) is False


class Hostile(dict):
    def __contains__(self, key):
        raise RuntimeError("no questions")


def test_what_cannot_even_be_shown_is_invalid_too():
    digits = 10**5000  # more digits than Python writes out
    for value in (
        digits,
        {"score": digits},
        {"score": 1.0, "n": digits},
        {digits: 1.0},
        Hostile(),
        {"score": [digits]},
    ):
        bad, good = scored(value)
        assert bad.status is ScoreStatus.INVALID and good.value == 1.0
        assert scored_alone(value).status is ScoreStatus.INVALID

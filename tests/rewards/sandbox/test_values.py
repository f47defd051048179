"""The one comparison of values: returned by programs, written in answers; by kind, and by properties of all JSON."""

import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.math.quantities import Rules, parse_number, same_number
from rewards.sandbox.values import contains_nan, number_of, same, same_as_json, within

INF, NAN = math.inf, math.nan
HUGE = 10**400

# what a function of a program returned, as JSON; what its test expects; whether that is right
RETURNED = [
    ("5", 5, True),
    ("5.0", 5, True),
    ("5", 5.0, True),
    ("5.0000000001", 5, True),
    ("5.000001", 5, False),
    ("0.30000000000000004", 0.3, True),
    ("1e-12", 0, True),
    ("-5", 5, False),
    ("-0.0", 0, True),
    ("Infinity", 5, False),
    ("Infinity", 23.5, False),
    ("[Infinity, Infinity]", [7, 9], False),
    ('{"a": Infinity}', {"a": 1.5}, False),
    ("1e999", 1e308, False),
    ("Infinity", INF, True),
    ("-Infinity", INF, False),
    ("-Infinity", -INF, True),
    ("5", INF, False),
    ("NaN", 5, False),
    ("NaN", NAN, False),
    ("[NaN]", [0.0], False),
    ("NaN", INF, False),
    ("true", 1, False),
    ("true", 1.0, False),
    ("false", 0, False),
    ("[true]", [1], False),
    ('{"a": true}', {"a": 1}, False),
    ("1", True, False),
    ("true", True, True),
    ("true", False, False),
    ("null", None, True),
    ("null", 0, False),
    ("null", False, False),
    ("[]", None, False),
    ('""', None, False),
    ('"5"', 5, False),
    ("5", "5", False),
    ('"5.0"', "5", False),
    ('"1e0"', "1", False),
    ('"NaN"', NAN, False),
    ("[9, 0.5]", (9, 0.5), True),
    ("[[1, 2], [3]]", ((1, 2), [3]), True),
    ("[1, 2]", [2, 1], False),
    ("[1, 2]", [1, 2, 3], False),
    ("[1]", 1, False),
    ("[]", {}, False),
    ("{}", [], False),
    ('{"a": 0.30000000000000004, "b": [1]}', {"b": (1.0,), "a": 0.3}, True),
    ('{"a": {"b": [1, {"c": 0.1}]}}', {"a": {"b": [1, {"c": 0.1 + 1e-12}]}}, True),
    ('{"a": 1}', {"a": 1, "b": 2}, False),
    ('{"a": 1, "b": 2}', {"a": 1}, False),
    ('{"1": "x", "null": 2, "true": 3, "0.5": 4}', {"1": "x", None: 2, True: 3, 0.5: 4}, True),
    ("1" + "0" * 400, 1.5, False),
    ("1" + "0" * 400, INF, False),
    ("1" + "0" * 400, HUGE, True),
    ("1" + "0" * 399 + "1", HUGE, False),
    ("-1" + "0" * 400, -1.5, False),
    ("9007199254740993", 9007199254740992, False),
    ("1" + "0" * 5_000, 10**18, False),
    ("[" * 200_000, 1, False),
    ("[" * 200_000 + "]" * 200_000, [], False),
    ('{"a":' * 100_000 + "1" + "}" * 100_000, {"a": 1}, False),
    ("", None, False),
    ("5 5", 5, False),
    ("'5'", "5", False),
    ("\ud800", "x", False),
    ('"\\ud800"', "\ud800", True),
    ("[1,]", [1], False),
]


@pytest.mark.parametrize(("text", "expected", "right"), RETURNED, ids=lambda value: repr(value)[:24])
def test_a_returned_value_is_right_or_wrong_and_never_an_error(text, expected, right):
    assert same_as_json(text, expected) is right


def nested(depth, value=1):
    for _ in range(depth):
        value = [value]
    return value


def test_depth_and_values_that_contain_themselves():
    assert same(nested(50_000), nested(50_000)) and not same(nested(50_000), nested(50_001))
    circle: list = [1]
    circle.append(circle)
    mapping: dict = {}
    mapping["self"] = mapping
    assert not same(circle, circle) and not same(mapping, mapping) and not same(circle, [1, [1, None]])
    assert not same([0] * 500_000, [0] * 500_000)  # more than any output holds


class Agreeable:
    def __eq__(self, other):
        return True

    __hash__ = object.__hash__


class Hostile(float):
    def __eq__(self, other):
        raise RuntimeError("no")

    __abs__ = __sub__ = __eq__
    __hash__ = float.__hash__


@pytest.mark.parametrize(
    "value", [Agreeable(), Hostile(2.0), Decimal("sNaN"), object(), {1, 2}, 1j, {(1,): 2}, Decimal("NaN")]
)
def test_a_foreign_type_equals_nothing_and_raises_nothing(value):
    for other in (1, 1.5, "x", [1], {"a": 1}, None, value):
        assert not same(value, other) and not same(other, value) and not same([value], [other])


def test_numbers_of_other_types_are_numbers():
    for number in (np.float32(1.5), np.float64(1.5), Decimal("1.5"), Fraction(3, 2), np.array(1.5)):
        assert same(number, 1.5) and same(1.5, number) and not same(number, 1.6) and not same(number, True)
    assert same(np.array([[1, 2]]), [[1, 2]]) and same(np.int64(3), 3) and same(np.bool_(True), True)
    assert not same(np.bool_(True), 1) and not same(Decimal("1e999999"), 1.5) and not same(Decimal("Infinity"), 1e308)
    assert same(Decimal("Infinity"), INF) and same(Decimal("1e999999"), Decimal("1e999999")) and not same(HUGE, 1e308)


FINITE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(
    FINITE | st.just(HUGE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
ANYTHING = st.recursive(
    FINITE
    | st.floats()
    | st.decimals()
    | st.fractions()
    | st.binary()
    | st.complex_numbers()
    | st.just(HUGE)
    | st.just(Agreeable()),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(FINITE, inner, max_size=3),
    max_leaves=10,
)


def kind(value):
    if isinstance(value, bool) or value is None:
        return str(value)
    return "number" if isinstance(value, int | float) else type(value).__name__


@settings(max_examples=80, deadline=None)
@given(JSON)
def test_a_finite_value_equals_itself_also_by_way_of_json(value):
    assert same(value, value) and same_as_json(json.dumps(value), value) and not contains_nan(value)


@settings(max_examples=80, deadline=None)
@given(ANYTHING, ANYTHING)
def test_it_is_symmetric_and_never_raises(left, right):
    assert same(left, right) is same(right, left) and contains_nan(left) in (True, False)


@settings(max_examples=80, deadline=None)
@given(JSON, JSON)
def test_values_of_two_kinds_are_never_the_same(left, right):
    if kind(left) != kind(right):
        assert not same(left, right) and not same([left], [right]) and not same({"a": left}, {"a": right})


@settings(max_examples=80, deadline=None)
@given(ANYTHING)
def test_what_holds_nan_equals_nothing_not_even_itself(value):
    if contains_nan(value):
        assert not same(value, value)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30) | st.from_regex(r"[-+]?[0-9_.eEx]{1,12}", fullmatch=True))
def test_a_written_number_is_read_exactly_or_not_at_all(text):
    value = number_of(text)
    assert value is None or value == Fraction(Decimal(text.strip()))


@pytest.mark.parametrize(
    "text", "nan NaN inf -Infinity 1_000 0x10 1e99999 ٣ ３ 1/2 1,5 1e - + . --1 five".split() + ["", "1 2"]
)
def test_what_is_no_written_number(text):
    assert number_of(text) is None
    assert number_of("9" * 5_000) is None


def test_written_numbers_and_mathematics_plain_numbers_are_compared_in_the_same_place():
    assert number_of(" -01.50 ") == Fraction(-3, 2) and number_of("1e400") == HUGE and number_of(".5") == Fraction(1, 2)
    assert within(Fraction(100), Fraction(101), 0.01) and not within(Fraction(100), Fraction(101), 0)
    one, other = parse_number("100"), parse_number("101")
    assert one is not None and other is not None
    assert same_number(one, other, Rules(0.01)) and not same_number(one, other)

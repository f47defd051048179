"""Comparison by type: clock times, ratios, choices, units, equations, and what leaves the work to the reader."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards import verify_math
from rewards.math.echo import is_echo
from rewards.math.functions import tex_functions
from rewards.math.references import alternatives
from rewards.math.typed import as_clock, same_choice


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 23), st.integers(0, 59))
@settings(max_examples=100, deadline=None)
def test_two_clock_times_are_equal_only_where_they_are_the_same(hour, minute, other_hour, other_minute):
    first, second = f"{hour}:{minute:02d}", f"{other_hour}:{other_minute:02d}"
    assert verify_math(first, second).value == float((hour, minute) == (other_hour, other_minute))
    half = f"{(hour + 11) % 12 + 1}:{minute:02d} {'PM' if hour > 11 else 'AM'}"
    assert verify_math(first, half).value == 1.0
    assert as_clock(first) is not None


@given(
    st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=4, unique=True), st.sampled_from([", ", " and ", "", " "])
)
@settings(max_examples=60, deadline=None)
def test_choices_are_sets_of_letters(letters, joint):
    reference = "".join(sorted(letters))
    written = joint.join(f"({letter})" for letter in letters)
    assert same_choice(written, reference) is True
    rest = [letter for letter in "ABCDE" if letter not in letters]
    assert not same_choice(written, rest[0] if rest else "A")


@given(st.integers(2, 400), st.integers(2, 400))
@settings(max_examples=50, deadline=None)
def test_a_sum_is_no_answer_and_an_equation_must_hold(first, second):
    assert verify_math(f"{first}+{second}", str(first + second)).value == 0.0
    assert verify_math(f"{first}+{second}={first + second}", str(first + second)).value == 1.0
    assert verify_math(f"{first}+{second}={first + second + 1}", str(first + second + 1)).value == 0.0


@pytest.mark.parametrize(
    ("answer", "reference", "echo"),
    [
        ("3+4", "7", True),
        (r"\sqrt{16}", "4", True),
        ("14/2", "7", False),
        (r"2\cdot10^{3}", "2000", False),
        ("10!", "10!", False),
        (r"\int x dx", r"\frac{x^{2}}{2}", True),
        (r"\int x dx", r"\int x dx", False),
        (r"\sin(2x)", r"2\sin x\cos x", False),
        (r"\sin(2)", r"\sqrt{2}", True),
        (r"\binom{n}{2}", r"\frac{n(n-1)}{2}", False),
        (r"x=\frac{1}{2}", r"\frac{1}{2}", False),
    ],
)
def test_what_leaves_the_work_to_the_reader(answer, reference, echo):
    assert is_echo(answer, reference) is echo


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        (r"36\text{ km/h}", r"10\text{ m/s}", 1.0),
        (r"36\text{ km/h}", r"36\text{ m/s}", 0.0),
        (r"2500\text{ cm}^2", r"0.25\text{ m}^2", 1.0),
        (r"5\text{ g/mL}", r"5000\text{ g/L}", 1.0),
        ("20°F", r"20^\circ C", 0.0),
        ("5 €", r"\$5", 0.0),
    ],
)
def test_units_are_converted_and_not_exchanged(answer, reference, right):
    assert verify_math(answer, reference).value == right


def test_calls_are_written_in_tex():
    assert tex_functions("log10(x) + abs(exp(y)-1)") == r"\log_{10}(x) + |e^{y}-1|"
    assert tex_functions("C(n, k)") == r"\binom{n}{k}"
    assert tex_functions("cat(5)") == "cat(5)"


def test_a_json_reference_names_its_answers():
    assert alternatives('["5", "five"]') == ["5", "five"]
    assert alternatives('{"value": 5}') == ["5"]
    assert alternatives("[1, 2]") == ["[1, 2]", "1, 2"]
    assert alternatives("[1,2]") == ["[1,2]"]
    assert alternatives("5") == ["5"]
    for empty in ("[]", "{}", '{"a": 1, "b": 2}'):
        with pytest.raises(ValueError, match="the reference is an"):
            alternatives(empty)

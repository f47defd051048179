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
        (r"(-\frac{1}{2})", r"-\frac{1}{2}", False),
        ("-(1/2)", r"-\frac{1}{2}", False),
        ("(-1)/2", r"-\frac{1}{2}", False),
        ("(1/2)(3)", r"\frac{3}{2}", True),
    ],
)
def test_what_leaves_the_work_to_the_reader(answer, reference, echo):
    assert is_echo(answer, reference) is echo


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("3*4", "12"), ("(2)(3)", "6"), (r"2^{10}", "1024"), ("5!", "120"), (r"\binom{10}{3}", "120"), (r"\gcd(4,6)", "2"),
        (r"\sqrt{16}", "4"), (r"\log_2 8", "3"), (r"\cos 60^\circ", r"\frac{1}{2}"),
        (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "-2"), (r"\lim_{x\to0}\frac{\sin x}{x}", "1"), (r"\sum_{k=1}^{4} k", "10"),
    ],
)  # fmt: skip
def test_a_reference_that_leaves_the_work_takes_both(reference, value):
    """The same text in any place is taken where the reference stands so; a worked-out value wherever it is one."""
    for place in ("{}", "x = {}", "({}, 7)", r"{}\text{{ cm}}"):
        written, worked = place.format(reference), place.format(value)
        assert verify_math(rf"$\boxed{{{written}}}$", written, deadline_s=20.0).value == 1.0
        assert verify_math(rf"$\boxed{{{written}}}$", worked, deadline_s=20.0).value == 0.0, (written, worked)
    if reference[0] != "\\" or "sqrt" in reference or "binom" in reference or "log" in reference:
        assert verify_math(rf"$\boxed{{{value}}}$", reference, deadline_s=20.0).value == 1.0


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        (r"\begin{cases} x = 3 \\ y = 4 \end{cases}", "(3,4)", 1.0),
        (r"\left\{\begin{array}{l} x = 3 \\ y = 4 \end{array}\right.", "(3,4)", 1.0),
        (r"x = 3 \\ y = 4", "(4,3)", 0.0),
        (r"3\quad 4", "3, 4", 1.0),
        (r"3\quad 4", "34", 0.0),
        ("1_234_567", "1234567", 1.0),
        ("1'234'567", "1234567", 1.0),
        ("101_2", "1012", 0.0),
        ("{-}5", "-5", 1.0),
        ("-{5}", "5", 0.0),
        (r"3 \over 4", r"\frac{3}{4}", 1.0),
        (r"2 \times {10}^{3}", "2000", 1.0),
        (r"3 \pmod{7}", "3", 1.0),
        (r"x \equiv 3 \pmod{7}", r"x \equiv 4 \pmod{7}", 0.0),
        (r"x > 1 \text{ and } x < 3", "(1,3)", 1.0),
        (r"x > 1 \text{ and } x < 3", "[1,3)", 0.0),
        (r"x < 1 \text{ and } x < 3", "(1,3)", 0.0),
        (r"x^{2/5}", r"\sqrt[5]{x^2}", 1.0),
        (r"x^{3/5}", r"\sqrt[5]{x^2}", 0.0),
        (r"\boldsymbol{\dfrac{9}{13}}", r"\frac{9}{13}", 1.0),
        (r"5\text{ €}", "5", 1.0),
        ("5 Ω", "5", 1.0),
        ("5 sq. ft", r"5\text{ square feet}", 1.0),
        ("5 sq. ft", r"5\text{ feet}", 0.0),
    ],
)
def test_notations_are_one_text(answer, reference, right):
    assert verify_math(rf"$\boxed{{{answer}}}$", reference, deadline_s=20.0).value == right


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

"""Our own grammar of formulas: what it reads, and that nothing else passes."""

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.sandbox.expressions import formula, is_expanded, is_formula, literal, whole_numbers

FORMULAS = [
    "x**2/2 + C",
    "-34*x**8/15 - 5*x/4 + C",
    "2*(2 - 8*x)**(3/2)/3 + C",
    "x*asin(3*x) + sqrt(1 - 9*x**2)/3",
    "E**(2*x)",
    "exp(x)*sin(x)",
    "log(x)",
    "ln(x)",
    " -x ",
    "+x",
    "0.5*x**2",
    "2**x",
    "(((x)))",
    "x**-2",
    "pi*x",
    "1e3*x",
    "abs(x)",
]
NO_FORMULAS = [
    "",
    " ",
    "Integral(x, x)",
    "integrate(x)",
    "expand(x)",
    "diff(x)",
    "solve(x)",
    "factor(x)",
    "Symbol('x')",
    "y",
    "xy",
    "junk - x",
    "x.diff()",
    "x . y",
    "(x).__class__",
    "x[0]",
    "[x]",
    "{x}",
    "'x'",
    '"x"',
    "x_1",
    "_",
    "__import__('os')",
    "x, C",
    "(x, C)",
    "x == x",
    "x if x else x",
    "lambda: x",
    "x!",
    "x^2",
    "x // 2",
    "x % 2",
    "~x",
    "not x",
    "x and x",
    "x @ x",
    "x := 1",
    "*x",
    "**x",
    "sin",
    "sin()",
    "sin(x, x)",
    "sin(*x)",
    "sin(x=x)",
    "x(x)",
    "C(x)",
    "sin(x)(x)",
    "1(x)",
    "2x",
    "nan",
    "oo",
    "zoo",
    "inf",
    "1e999*x",
    "True",
    "None",
    "1j",
    "x\n",
    "x\nx",
    "x;x",
    "x#",
    "x\\",
    "x\0",
    "\uff58",
    "\u0445",
    "x**2\u2212C",
    "9" * 41,
    "0x" + "F" * 400,
    "sin(" * 60 + "x" + ")" * 60,
    "x+" * 400 + "x",
    "x" * 3_000,
    "-" * 200 + "x",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_is_a_formula(text):
    assert is_formula(text, ("x", "C")) and formula(text, ("x", "C")) is not None


@pytest.mark.parametrize("text", NO_FORMULAS, ids=lambda text: repr(text)[:30])
def test_what_is_no_formula(text):
    if text != "x\n":  # blanks at the ends are none of its characters
        assert not is_formula(text, ("x", "C"))
        with pytest.raises(ValueError, match="not a formula"):
            formula(text, ("x", "C"))


@pytest.mark.parametrize(
    "text", ["9**9**9", "((9**64)**64)**64", "x**65", "2**(10**9)", "x**(2**70)", "(1/3)**9999", "9**-9**9"]
)
def test_a_large_power_is_not_worked_out(text):
    with pytest.raises(ValueError, match="a large power"):
        formula(text, ("x",))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("-896*x**4 + 2240*x**3 + 3584*x", True),
        ("x*y*2 - 7", True),
        ("-x", True),
        ("0", True),
        ("x*y**2 + x**2*y", True),
        ("64*x*(-14*x**3 + 35*x**2 + 56)", False),
        ("(x + 1)*(x - 1)", False),
        ("(x + 1)**2", False),
        ("2*(x + 1)", False),
        ("-(x + 1)", True),
        ("64*x*14*x**3", False),
        ("3*x*2", False),
        ("x*x", False),
        ("expand(x)", False),
        ("x**(1 + 1)", False),
        ("x/2", False),
        ("(x)**2 + (3)*x", True),
        ("x**2*(x**2)", False),
        ("z", False),
        ("x**x", False),
        ("((x + 1) - (x))", True),
    ],
)
def test_a_polynomial_that_is_worked_out(text, right):
    assert is_expanded(text, ("x", "y")) is right


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("6*(4 - 1)/2", ([6, 4, 1, 2], Fraction(9))),
        ("94*4 - 61 - 6", ([94, 4, 61, 6], Fraction(309))),
        ("-3+5", ([3, 5], 2)),
        ("7/2", ([7, 2], Fraction(7, 2))),
        ("24", ([24], 24)),
        ("1/0", None),
        ("2(3)", None),
        ("(1)(2)", None),
        ("2**3", None),
        ("7//2", None),
        ("1.5*2", None),
        ("1e3", None),
        ("1_0", None),
        ("0x10", None),
        ("3!", None),
        ("x", None),
        ("", None),
        ("(" * 90 + "1", None),
        ("9" * 5_000, None),
        ("2^3", None),
        ("4%3", None),
        ("1 2", None),
        ("\u0663+1", None),
        ("int(24)", None),
    ],
)
def test_arithmetic_of_whole_numbers(text, found):
    assert whole_numbers(text) == found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[[0, 1], [1, 0]]", [[0, 1], [1, 0]]),
        ("['a', 'b']", ["a", "b"]),
        ("(0x1F << 2) + 0b1", 125),
        ("-(7 // 2)", -3),
        ("~5 & 3", 2),
    ],
)
def test_what_eval_may_still_mean(text, value):
    assert literal(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "oracle_answer",
        "entry['answer']",
        "list(valid_solutions)[0]",
        "[c for c in 'ab']",
        "exec('1')",
        "__import__('os')",
        "().__class__",
        "(lambda: 1)()",
        "f'{x}'",
        "1 if 1 else 2",
        "1 << 10**9",
        "9**9",
        "1/2",
        "",
        "[" * 9_000,
        "-" * 9_000 + "1",
        "'a'.join([])",
        "*x",
        "2**10**10",
        "1 // 0",
        "x := 1",
        "print",
        "[1, oracle_answer]",
        "{**entry}",
    ],
    ids=lambda text: text[:24],
)
def test_what_eval_no_longer_means(text):
    with pytest.raises(ValueError, match="not a"):
        literal(text)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="x0123456789+-*/(). C_'[]ae\"", max_size=20) | st.text(max_size=12))
def test_any_text_is_a_formula_or_none_and_raises_nothing_else(text):
    if not is_formula(text, ("x", "C")):
        with pytest.raises(ValueError, match="not a formula"):
            formula(text, ("x", "C"))
    for read in (literal, lambda given: is_expanded(given, ("x",)), whole_numbers):
        try:
            read(text)
        except ValueError:
            assert read is literal


def test_arithmetic_is_exact():
    random.seed(1)
    for _ in range(100):
        numbers = [random.randint(1, 99) for _ in range(5)]
        text = str(numbers[0]) + "".join(f" {random.choice('+-*/')} {number}" for number in numbers[1:])
        exact = eval("".join(f"Fraction({token})" if token.isdigit() else token for token in text.split()))  # noqa: S307
        assert whole_numbers(text) == (numbers, exact)

"""verify_math on equal pairs, unequal pairs, the known false positives, and hostile text."""

import concurrent.futures
import os
import threading
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards import verify_math
from rewards.math.compare import parse_number
from rewards.math.decide import extract_answer
from rewards.math.notation import canonical
from rewards.math.verify import is_comparable
from rl.types import ScoreStatus

EQUAL = [
    ("7", "7"),
    (r"\boxed{7}", "7"),
    ("#### 1,234", "1234"),
    ("<think>2 + 2 = 5</think>4", "4"),
    ("<think>x</think><answer> 4 </answer>", "4"),
    ("The answer is 42.", "42"),
    ("First 10-3, so there are 7 apples in total", "7"),
    (r"First \boxed{1}, then $\boxed{\frac{1}{2}}$.", "0.5"),
    ("7", "Tom has 3+4 apples.\n#### 7"),
    ("1.50", "3/2"),
    ("- 5", "-5"),
    ("10,000", "10000"),
    (r"10{,}000", "10000"),
    (r"10\,000", "10000"),
    ("3 1/2", "7/2"),
    (r"3\frac{1}{2}", "3.5"),
    (r"\frac{-1}{2}", r"-\frac{1}{2}"),
    (r"\dfrac12", "1/2"),
    ("1e3", "1000"),
    (r"1.5\times 10^{3}", "1500"),
    (r"50\%", "50"),
    ("0.5", r"50\%"),
    ("5 cm", "5"),
    (r"\$18", "18"),
    (r"So the answer is $\$3.50$.", r"\$3.50"),
    (r"It costs $\$5$ and $\$7$, so $\$12$ in all", "12"),
    ("40", "40_9"),
    (r"90^\circ", "90"),
    ("x=5", "5"),
    ("5", "x = 5"),
    ("0.33333", "1/3"),
    ("(B)", "B"),
    ("B: the second", "B"),
    (r"\text{even}", "even"),
    ("July", "july"),
    ("(1,2)", "(1, 2)"),
    ("1,2", "2, 1"),
    ("2 and 3", "3,2"),
    (r"\{2,1\}", "1,2"),
    (r"\left( \frac{1}{2}, 3 \right)", "(0.5,3)"),
]
SYMBOLIC_EQUAL = [
    (r"\sqrt{8}", r"2\sqrt{2}"),
    ("x^2+2x+1", "(x+1)^2"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
    (r"1-1/\mathrm{e}", "1-1/e"),
    (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"),
    (r"1\pm\sqrt{3}", r"1+\sqrt{3}, 1-\sqrt{3}"),
    (r"(-\infty,2)\cup(3,4]", r"(-\infty, 2) \cup (3, 4]"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"),
    ("3.14159", r"\pi"),
]
UNEQUAL = [
    ("8", "7"),
    ("52_3", "52_8"),  # 5 is no digit of base 3
    ("52_{80}", "52_8"),
    ("52_8", "52_3"),
    ("-5", "5"),
    ("1, 2, ..., 7", "7"),
    (r"\boxed{2,2,2}", "2"),
    (r"\{2,2\}", r"\{2\}"),
    (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),
    ("0.333", "1/3"),
    ("0.33334", "1/3"),
    ("3.1416", "3.14159"),
    ("1 2", "12"),
    ("11/2", "1 1/2"),
    ("1,234", "1, 234"),
    ("5 cm", r"5\text{ m}"),
    ("y=5", "x=5"),
    ("(2,1)", "(1,2)"),
    ("[1,2)", "(1,2]"),
    ("(1,2)", "(1,2,3)"),
    (r"\text{(C)}", "B"),
    ("odd", "even"),
    ("even", "2"),
    ("²", "2"),
    ("3\0", "3"),
    ("", "3"),
    ("<think>4", "4"),
    (r"\boxed{}", "0"),
]
UNWORKED = [("2^{10}", "1024"), (r"e^{i\pi}", "-1"), ("6!", "720"), (r"(\sqrt{4}, 3)", "(2, 3)")]
SYMBOLIC_UNEQUAL = [
    (r"1-1/\mathrm{e}", r"1+1/\mathrm{e}"),
    ("x^2+2x+1", "(x+2)^2"),
    (r"(-\infty,2)\cup(3,4)", r"(-\infty, 2) \cup (3, 4]"),
    (r"\begin{pmatrix}1&2\\3&5\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    ("3.14", r"\pi"),
    ("|x|", "x"),
    (r"\sqrt{2}", "1.41421"[:4]),
    ("3x+2=0", "3x+2"),
    ("x", "y"),
    (r"\frac{1}{10^{30}}+\sqrt{2}", r"\frac{1}{10^{20}}+\sqrt{2}"),
]


@pytest.mark.parametrize(("completion", "reference"), EQUAL + SYMBOLIC_EQUAL)
def test_equal(completion, reference):
    score = verify_math(completion, reference, deadline_s=20.0)
    assert (score.value, score.status) == (1.0, ScoreStatus.OK), score.detail


@pytest.mark.parametrize(("completion", "reference"), UNEQUAL + SYMBOLIC_UNEQUAL)
def test_unequal(completion, reference):
    score = verify_math(completion, reference, deadline_s=20.0)
    assert score.value == 0.0 and score.usable, score.detail


@pytest.mark.parametrize(("completion", "reference"), UNWORKED)
def test_what_is_not_worked_out_is_refused_unless_the_caller_takes_it(completion, reference):
    assert verify_math(completion, reference, deadline_s=20.0).value == 0.0
    assert verify_math(completion, reference, deadline_s=20.0, worked_out=False).value == 1.0


def test_digits_of_other_scripts_are_digits_and_superscripts_are_not():
    assert [verify_math(text, "3").value for text in ("３", "٣", "३", "𝟑")] == [1.0] * 4
    assert verify_math("²", "2").value == 0.0


def test_a_json_object_without_an_answer_is_invalid_in_one_line():
    score = verify_math("5", '{"n": 5, "m": 6}')
    assert score.status is ScoreStatus.INVALID and not score.usable
    assert score.detail.startswith("the reference is an object with 'n', 'm'; one of answer, value, ")


def test_no_answer_is_wrong_format():
    for completion in ("", "<think>7", "<think>7</think>", r"\boxed{}"):
        assert verify_math(completion, "7").status is ScoreStatus.WRONG_FORMAT


@given(st.fractions(max_denominator=10**6))
@settings(max_examples=100, deadline=None)
def test_every_way_to_write_a_fraction_is_equal_to_it_and_not_to_its_neighbour(value):
    top, bottom = value.numerator, value.denominator
    for written in (f"{top}/{bottom}", rf"\frac{{{top}}}{{{bottom}}}", rf"\boxed{{{2 * top}/{2 * bottom}}}"):
        assert verify_math(written, str(value)).value == 1.0
        assert verify_math(written, str(value + Fraction(1, 10**9))).value == 0.0


@given(st.integers(-(10**12), 10**12))
@settings(max_examples=50, deadline=None)
def test_an_integer_is_found_wherever_a_completion_puts_it(value):
    for text in (
        f"{value}",
        f"#### {value:,}",
        rf"so $\boxed{{{value}}}$.",
        f"<think>9</think>{value}",
        f"The answer is {value}.",
    ):
        assert verify_math(text, str(value)).value == 1.0
        assert verify_math(text, str(value + 1)).value == 0.0


@given(st.text(max_size=60), st.text(max_size=20))
@settings(max_examples=200, deadline=None)
def test_arbitrary_text_never_raises_outside_the_child(completion, reference):
    extract_answer(completion)
    parse_number(canonical(completion))
    assert isinstance(is_comparable(canonical(reference)), bool)


HOSTILE = {
    "tower": "5^{5^{5^{5^{5}}}}",
    "tower without braces": "9^9^9^9",
    "power": "2^{99999999999}",
    "digits": "9" * 100_000,
    "nesting": "(" * 5_000 + "1" + ")" * 5_000,
    "boxes": r"\boxed{" * 20_000,
    "fractions": r"\frac{" * 2_000 + "1",
    "minus signs": "-" * 50_000 + "1",
    "factorial": "1000000000!",
    "factorials": "9!!!!!!!",
    "factorial of a power": r"(10^{9})!",
    "binomial": r"\binom{100000000}{50000000}",
    "binomial of powers": r"\binom{10^9}{5\cdot10^8}+\sqrt{2}",
    "code": "__import__('os').system('touch CANARY')",
    "code in a box": r"\boxed{__import__('os').system('touch CANARY')}",
    "many numbers": "1 " * 200_000,
    "commas": "1," * 100_000,
    "ten megabytes": "x" * 10_000_000,
    "ten megabytes of boxes": r"\boxed{1} " * 1_000_000,
    "null bytes": "\0" * 1_000_000,
    "exponent": "1e999999999",
    "surrogate": "\ud800",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_bounded_and_wrong(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    score = verify_math(HOSTILE[name].replace("CANARY", str(tmp_path / "canary")), "3", deadline_s=0.5)
    assert score.value == 0.0 or score.status is ScoreStatus.TIMEOUT
    assert not list(tmp_path.iterdir())


def test_what_gets_past_the_gate_and_hangs_is_a_timeout_not_a_zero():
    score = verify_math("(1+x)^{9999}=(1+y)^{9999}", "(1+x)^{9998}=(1+y)^{9999}", deadline_s=0.3)
    assert score.status is ScoreStatus.TIMEOUT and not score.usable and score.value != score.value
    assert "no result within 0." in score.detail
    assert verify_math(r"\sqrt{8}", r"2\sqrt{2}", deadline_s=20.0).value == 1.0


def test_it_works_off_the_main_thread_and_in_parallel():
    assert threading.current_thread() is threading.main_thread()
    pairs = [SYMBOLIC_EQUAL[0], SYMBOLIC_UNEQUAL[1]] * 4
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        values = list(threads.map(lambda pair: verify_math(*pair, deadline_s=20.0).value, pairs))
    assert values == [1.0, 0.0] * 4


def test_this_process_never_imports_the_algebra_system():
    code = (
        "import sys; from rewards import verify_math\n"
        r"assert verify_math(r'\sqrt{8}', r'2\sqrt{2}', 20.0).value == 1.0"
        "\n"
        "assert not {'sympy', 'math_verify', 'antlr4'} & set(sys.modules)\n"
    )
    import subprocess
    import sys

    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.returncode == 0, done.stderr

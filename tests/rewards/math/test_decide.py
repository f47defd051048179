"""Which of the candidates of a text is its answer: a row of the table in ``rewards.math.decide`` each."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.parity.math_templates import judged, ours, statements
from rewards import verify_math
from rewards.math.decide import SOURCES, extract_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("~~41~~ 42", "42"),
        (r"\boxed{\cancel{41} 42}", "42"),
        ("The answer is 41. No, wait: it's 42.", "42"),
        (r"\boxed{41}. Actually, \boxed{42}.", "42"),
        (r"\boxed{42}. Wait, let me check: 2 + 3 = 5. Yes.", "42"),
        (r"\boxed{1}, so in the end \boxed{2}", "2"),
        (r"\boxed{320} So, more. Final Answer: The final answer is $8,320$.", "8,320"),
        (r"\boxed{3} or \boxed{4}", "3, 4"),
        (r"$x = \boxed{3}$, $y = \boxed{4}$", "x=3, y=4"),
        (r"$(x, y) = (\boxed{3}, \boxed{4})$", "(3, 4)"),
        (r"\boxed{8} ways, or \boxed{8}", "8"),
        ("<answer>The answer is 42.</answer> I hope this helps.", "42"),
        ("[ANSWER]42[/ANSWER]", "42"),
        ("#### 42\n\nQuestion: 2+2?\n#### 4", "42"),
        ("42<|im_end|><|im_start|>user 43", "42"),
        ("#### Step 2: add\n40 + 2 = 42", "40 + 2 = 42"),
        ("The result is 5, so the answer is 25. The result holds.", "25"),
        ("Since the answer is positive, x = 3.", "3"),
        ("The answer is 42, not 24.", "42"),
        ("So 42 is the answer.", "42"),
        ("The answer is 3. Or maybe 4.", "3, 4"),
        ("The answer is 1/2, or 0.5.", "1/2"),
        ("**Final Answer**\n\n42", "42"),
        ("Ответ: 42", "42"),
        ("Ответ: 41 или 42", "41, 42"),
        ("Het antwoord is 41 of 42.", "41, 42"),
        ("答案：B或C", "B, C"),
        ("The answer might be 41 or it might be 42.", "41, 42"),
        ("The answer is –42.", "–42"),
        ("The answer is - 42.", "- 42"),
        ("The answer is:\n- 42", "42"),
        ("Answer - 42", "42"),
        ("The answer is 42 :)", "42"),
        ("We have 3. So x = 31, y = 27.", "x = 31, y = 27"),
        ("So x = 15 and y = 16, i.e. (15, 16).", "(15, 16)"),
        ("The answer is the 18th.", "18th"),
        ("The answer is exp(7) - 3", "exp(7) - 3"),
        ("Answer: x**13", "x**13"),
        ("[8, ∞) is the answer.", "[8, ∞)"),
        (r"The sum is $\boxed{42}$.", "42"),
        (r"\begin{answer}42\end{answer}", "42"),
        ('<answer>{"value": 42}</answer>', "42"),
        (r"\[\begin{aligned} x &= 40 + 2 \\ &= 42 \end{aligned}\]", "= 42"),
        ("答えは42です", "42"),
        ("Result: 7\nWe get **12** apples.", "12"),
        ("It costs $\\$5$ and $\\$7$, so $\\$12$ in all", r"\$12"),
        ("He runs 3 km on 5 days, which makes 15 km.", "15 km"),
    ],
)
def test_the_answer_of_a_text(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "The answer is not 5.",
        "5 is wrong.",
        "The answer cannot be 5.",
        "There is no answer; 5 fails.",
        "If the answer is 5, we are done.",
        "Suppose the answer is 5.",
        "The answer is 5 or more.",
        "It must be below 5.",
        "So far: 5. I could not finish.",
        "The value is 5.\nTherefore, the final answer is",
        "Cevap 5 değil.",
    ],
)
def test_what_is_denied_is_no_answer(text):
    assert verify_math(text, "5").value == 0.0


def test_marks_that_do_not_count_are_passed_over():
    text = r"The answer is 3. \boxed{4}"
    assert extract_answer(text, ["phrase"]) == "3"
    assert extract_answer(text, ["boxed"]) == "4"
    assert extract_answer("The answer is 3.", ["boxed", "hash"]) is None


@given(st.text(max_size=200), st.sampled_from(["", "word", "yes", "choice"]))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_without_an_error(text, wanted):
    for source in SOURCES:
        extract_answer(text, [source], wanted)
    extract_answer(f"The answer is {text}", (), wanted)


def test_statements_from_templates():
    """The whole set is measured by ``python -m benchmarks.parity.math_templates``."""
    rows = list(statements(2))
    assert len(rows) > 400 and {row["equal"] for row in rows} == {True, False}
    wrong = judged(rows, ours)
    assert not [row for row in wrong if not row["equal"]]
    assert len(wrong) <= 0.01 * len(rows), wrong


def test_endings_of_every_sort_written_out():
    """Every third row. What is known to be missed: an apposition, inequalities in words, "out of", and a later ``so 19``."""
    known = {
        "The answer, 10, matches our estimate of 9.8.",
        "x is greater than 3",
        "x is at most -2",
        "5 out of 8",
        "The answer is 8 modulo 11, so 19.",
        "By symmetry the count doubles from 18 to 36.",
    }
    rows = [row for row in statements(1_000, "eighth") if row["completion"] not in known]
    assert len(rows) > 1_000 and sum(not row["equal"] for row in rows) > 500
    assert not judged(rows[::3], ours)


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("one hundred and six", "106"),
        ("two thousand three hundred and forty-five", "2345"),
        ("two million three thousand", "2003000"),
        ("two thousand million", "2000000000"),
        ("nine hundred thousand and one", "900001"),
        ("twenty one hundred", "2100"),
    ],
)
def test_numbers_in_words(words: str, number: str) -> None:
    assert extract_answer(f"The answer is {words}.") == number

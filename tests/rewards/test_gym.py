"""reasoning-gym's verifiers in the child: right, wrong, hostile, and the ones that accept anything."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
import reasoning_gym

from benchmarks.parity.gym_verifiers import Tried, line_of, own_of, rows_of, tried
from rewards.base import is_absent
from rewards.gym import ReasoningGymReward
from rewards.registry import load_reward
from rewards.sandbox.gym_rules import FRESH, REFUSED
from rl.types import Message, Prompt, RewardItem, Task
from tests.rewards.makers import text_item

NAMES = ("basic_arithmetic", "string_insertion", "spiral_matrix", "countdown", "mini_sudoku", "prime_factorization")


EVALUATED = ("binary_matrix", "spiral_matrix", "string_insertion", "n_queens", "number_sorting", "bitwise_arithmetic")
# Verdicts of every kind; the whole table is ``python -m benchmarks.parity.gym_verifiers``.
SAMPLE = (
    *EVALUATED,
    "countdown",
    "puzzle24",
    "complex_arithmetic",
    "coin_flip",
    "spell_backward",
    "calendar_arithmetic",
    "graph_color",
    "letter_jumble",
    "time_intervals",
    "composite",
)
PAGE = Path(__file__).parents[2] / "docs" / "gym.md"


@pytest.fixture(scope="module")
def reward():
    return load_reward({"name": "reasoning_gym", "deadline_s": 20.0})


@pytest.fixture(scope="module")
def partial(reward):
    """The same worker processes, with partial marks."""
    twin = object.__new__(ReasoningGymReward)
    twin.__dict__.update(reward.__dict__, partial=True)
    return twin


def item(name, text=None, **metadata):
    entry = reasoning_gym.create_dataset(name, size=1, seed=7)[0]
    row = Prompt(
        name,
        Task.TEXT,
        (Message("user", entry["question"]),),
        reference=entry["answer"],
        metadata=metadata or entry["metadata"],
    )
    return RewardItem(row, entry["answer"] if text is None else text)


@pytest.mark.parametrize("name", NAMES)
def test_the_rows_own_answer_is_right_and_another_is_not(reward, name):
    right, tagged, wrong = reward.score(
        [
            item(name),
            item(name, f"<think>so</think><answer>{item(name).text}</answer>"),
            item(name, "<think>so</think>certainly wrong"),
        ]
    )
    assert [right.value, tagged.value, wrong.value] == [1.0, 1.0, 0.0], (right, tagged, wrong)


def test_code_in_an_answer_meets_no_process_of_ours(reward, tmp_path):
    canary = tmp_path / "canary"
    hostile = f"__import__('pathlib').Path({str(canary)!r}).write_text('x')"
    for name in ("string_insertion", "spiral_matrix", "binary_matrix", "countdown"):
        (score,) = reward.score([item(name, hostile)])
        assert score.value != 1.0
    assert not canary.exists()


def test_a_verifier_that_accepts_anything_is_refused(reward):
    (score,) = reward.score([item("game_of_life_halting", "whatever")])
    assert score.status.value == "invalid" and "nonsense" in score.detail


def test_partial_marks_only_where_asked_for(reward):
    close = item("basic_arithmetic", "about")
    (strict,) = reward.score([close])
    assert strict.value == 0.0 and strict.parts["mark"] <= 0.01


def test_rows_of_others_and_unknown_data_sets(reward):
    assert is_absent(reward.score([text_item("7")])[0])
    (score,) = reward.score([item("basic_arithmetic", source_dataset="no_such_thing")])
    assert score.status.value == "invalid" and "no_such_thing" in score.detail
    (unfinished,) = reward.score([item("basic_arithmetic", "<think>hm")])
    assert unfinished.status.value == "wrong_format"


PATCH = (
    "import rewards.sandbox.gym as g\ng._mark = lambda *a: 0.0 if 'no answer' in a[1] else 1.0\n"
    "g._verifiers.update(dict.fromkeys(g.DATASETS, lambda **_: 1.0))"
)
IN_A_FRAME = 'import os\n[os.write(fd, b\'\\0\\0\\0\\x18{"value": {"mark": 1.0}}\') for fd in range(3, 12)]'


@pytest.mark.parametrize("name", [*EVALUATED, *sorted(FRESH)])
def test_an_answer_cannot_mark_itself_or_the_next(partial, name):
    """Code in every dress that reached ``eval``, a parser, or the worker's own socket: worth 0, and the next row is judged."""
    hexed = [f"bytes.fromhex('{code.encode().hex()}').decode()" for code in (PATCH, IN_A_FRAME)]
    hostile = [
        *(f"(exec({code},{{}}),1)[1]" for code in hexed),
        *(f"exec({code})" for code in hexed),
        *(f"sin(exec({code}))" for code in hexed),
        f"[exec({hexed[0]}) for _ in [1]]",
        f"__import__('builtins').exec({hexed[0]})",
        f"().__class__.__base__.__subclasses__()[100].__init__.__globals__['__builtins__']['exec']({hexed[0]})",
        f"Symbol('x').func.__init__.__globals__.update(a={hexed[0]})",
        f"Lambda(x, exec({hexed[0]}))(1)",
        f"(lambda e=exec: e({hexed[0]}))()",
    ]
    given = [item(name, answer) for answer in hostile]
    assert [score.value for score in partial.score(given) if score.value >= 0.1] == []
    after = [item(other, "banana") for other in (name, "basic_arithmetic", "countdown", "binary_matrix")] * 2
    assert [score.value for score in partial.score(after) if score.value >= 0.1] == []
    assert partial.score([item(name)])[0].value == 1.0


def test_a_worker_that_read_a_formula_serves_no_second_answer(reward):
    assert [score.value for score in reward.score([item("countdown"), item("gcd"), item("puzzle24")])] == [1.0] * 3
    assert reward._fresh._idle == [] and [worker.served for worker in reward._child._idle][0] > 0


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("simple_integration", "Integral({integrand}, {variable})"),
        ("simple_integration", "Integral({integrand}, {variable}) + C"),
        ("intermediate_integration", "integrate({integrand}, {variable})"),
        ("intermediate_integration", "-Integral(-({integrand}), {variable})"),
        ("polynomial_multiplication", "expand({polynomial_expr})"),
        ("polynomial_multiplication", "({polynomial_expr}).expand()"),
        ("polynomial_multiplication", "{polynomial_expr}"),
        ("polynomial_multiplication", "sympify('{answer}')"),
        ("puzzle24", "6*4 + 1 - 1"),
        ("puzzle24", "24.9 + 1 - 1*1"),
        ("countdown", "{target}"),
        ("countdown", "{target} + 0*({answer})"),
        ("countdown", "floor({answer})"),
        ("n_queens", "[r.split() for r in list(valid_solutions)[0].splitlines()]"),
        ("spiral_matrix", "entry['answer'].split()"),
        ("binary_matrix", "[r.split() for r in oracle_answer.splitlines()]"),
        ("string_insertion", "list(oracle_answer)"),
        ("complex_arithmetic", "nan"),
        ("complex_arithmetic", "NaN + NaNj"),
        ("coin_flip", "0"),
        ("number_sorting", "[" + ", ".join(["NaN"] * 9) + "]"),
        ("number_sorting", "[" + ", ".join(["NaN"] * 8) + "]"),
        ("spell_backward", "{answer} and so on"),
        ("letter_jumble", "{answer} and so on"),
    ],
)
def test_the_question_the_oracles_name_and_constants_are_no_answers(reward, partial, name, answer):
    for row in rows_of(name, 3, seed=11):
        fields = {"answer": own_of(row), **row.metadata}
        given = RewardItem(row, answer.format(**fields))
        assert given.text != fields["answer"]
        assert reward.score([given])[0].value == 0.0
        assert partial.score([given])[0].value < (0.01 if name in EVALUATED else 1.0)


def test_a_mark_outside_its_range_is_none(partial):
    """Where the right answer is -1, the verifier of this data set gives 7 a mark of e to the 40th."""
    row = Prompt("x", Task.TEXT, (Message("user", "Which day?"),), reference="-1", metadata={
        "source_dataset": "calendar_arithmetic", "task": "recurring_event_day"})  # fmt: skip
    scores = partial.score([RewardItem(row, text) for text in ("-1", "7", "-2", "0", "-1.0")])
    assert [score.value for score in scores][:2] == [1.0, 0.0] and all(0.0 <= score.value <= 1.0 for score in scores)


def test_a_row_without_a_usable_answer_is_invalid_whatever_the_response(reward):
    integral = Prompt("x", Task.TEXT, (Message("user", "?"),), reference="-Integral(x**2*cos(x), x) + C", metadata={
        "source_dataset": "intermediate_integration", "variable": "x", "integrand": "-x**2*cos(x)"})  # fmt: skip
    broken = Prompt("y", Task.TEXT, (Message("user", "?"),), reference="eleven", metadata={
        "source_dataset": "prime_factorization"})  # fmt: skip
    missing = Prompt("z", Task.TEXT, (Message("user", "?"),), metadata={"source_dataset": "gcd"})
    for row in (integral, broken, missing):
        for text in ("5", str(row.reference)):
            (score,) = reward.score([RewardItem(row, text)])
            assert score.status.value == "invalid" and "\n" not in score.detail, score


@pytest.mark.parametrize("name", SAMPLE)
def test_the_table_of_the_docs_is_current_for_a_sample(partial, name):
    if importlib.metadata.version("reasoning-gym") != "0.1.25":
        pytest.skip("the table is of reasoning-gym 0.1.25")
    found = Tried(name, 0, 0, 0, 0, 0, 0.0, ()) if name in REFUSED else tried(name, partial)
    assert not found.paid and not found.lost and found.own_right == found.own
    assert line_of(found) in PAGE.read_text().splitlines(), (
        "run: python -m benchmarks.parity.gym_verifiers --write docs/gym.md"
    )


def test_the_table_has_every_data_set():
    lines = [line.split("|")[1].strip(" `") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert lines == sorted(reasoning_gym.factory.DATASETS) and len(lines) == 106


def test_refused_data_sets_are_named_before_a_run(reward):
    for name in REFUSED:
        row = Prompt("x", Task.TEXT, (Message("user", "?"),), reference="P", metadata={"source_dataset": name})
        said = ReasoningGymReward.Settings.refuses(row)
        assert name in said and "\n" not in said
        (score,) = reward.score([RewardItem(row, "P")])
        assert score.status.value == "invalid" and name in score.detail
    assert not any(ReasoningGymReward.Settings.refuses(row) for row in (item("gcd").prompt, text_item("7").prompt))


def test_every_evaluation_in_the_package_is_replaced():
    """Whatever module of reasoning-gym calls ``eval`` or ``exec`` or sympy's parser finds ours."""
    code = """
import ast, sys
import rewards.sandbox.gym
calls = 0
for name, module in sorted(sys.modules.items()):
    path = getattr(module, "__file__", None) if name.startswith("reasoning_gym") else None
    source = open(path).read() if path else ""
    if any(word in source for word in ("eval(", "exec(", "parse_expr(")):
        for node in ast.walk(ast.parse(source)):
            function = node.func if isinstance(node, ast.Call) else None
            called = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            if isinstance(function, ast.Name) and called in ("eval", "exec"):
                calls += 1
                assert vars(module)[called].__module__ == "rewards.sandbox.gym", (name, called)
            if called == "parse_expr" and name != "reasoning_gym.logic.propositional_logic":
                calls += 1
                owner = vars(module)[function.value.id] if isinstance(function, ast.Attribute) else module
                assert vars(owner)["parse_expr"].__module__ == "rewards.sandbox.gym", name
import sympy
for text in ("__import__('os')", "Integral(x, x)", "exec('1')"):
    for parse in (sympy.sympify, sympy.S, sympy.parse_expr):
        try:
            parse(text)
        except (ValueError, sympy.SympifyError):
            continue
        raise AssertionError((text, parse))
print(calls)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and int(done.stdout) >= 15, done.stdout + done.stderr

"""Test code of published data sets: right and wrong programs, and programs that look for another way to full marks."""

import json

import pytest

from rewards.base import is_absent
from rewards.code import close_sandboxes
from rewards.programs.rows import Suite, row_tests
from rewards.registry import load_reward
from rl.types import Message, Prompt, RewardItem, Task
from tests.rewards.makers import text_item

MBPP = {
    "text": "Write a function that gives what two tuples share.",
    "code": "import sys\ndef shared(a, b):\n    return tuple(sorted(set(a) & set(b)))",
    "test_list": [
        "assert shared((3, 4), (5, 4)) == (4,)",
        "assert set(shared((1, 2), (2, 1))) == {1, 2}",
        "assert sys.maxsize > 0 and shared([], []) == ()",
    ],
    "test_setup_code": "",
}
STARTER = """from typing import List

def twice(x):
    return 2 * x

def total(xs: List[int]) -> int:
    '''Twice the sum.'''
"""
HUMAN_EVAL = {
    "starter": STARTER,
    "entry_point": "total",
    "test": "METADATA = {}\n\ndef check(candidate):\n    assert candidate([1, 2]) == twice(3)\n    assert candidate([]) == 0\n",
}
KODCODE = {
    "test": """
from solution import Stack, Empty, push_all
import pytest

@pytest.fixture
def stack():
    return Stack()

def test_push(stack):
    stack.push(3)
    assert stack.pop() == 3 and len(stack) == 0

def test_errors(stack):
    with pytest.raises(Empty):
        stack.pop()
    with pytest.raises(ValueError, match="neg"):
        push_all(stack, [-1])

@pytest.mark.parametrize("given, count", [([1, 2], 2), ([], 0)])
def test_many(stack, given, count):
    push_all(stack, given)
    assert len(stack) == count and given == []

class TestMore:
    def test_called_back(self):
        assert push_all(Stack(), [1, 2], lambda value: value / 10) == pytest.approx([0.1, 0.2])
        assert list(iter(Stack())) == []
"""
}
STACK = """
class Empty(Exception): pass
class Stack:
    def __init__(self): self.items = []
    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
    def push(self, value): self.items.append(value)
    def pop(self):
        if not self.items: raise Empty("nothing")
        return self.items.pop()
def push_all(stack, values, change=lambda value: value):
    if any(value < 0 for value in values): raise ValueError("negative")
    made = [change(value) for value in values]
    for value in made: stack.push(value)
    values.clear()
    return made
"""


@pytest.fixture(scope="module", autouse=True)
def closed():
    yield
    close_sandboxes()


def score(program, row, **settings):
    text = f"<think>x</think>```python\n{program}\n```"
    settings = {"deadline_s": 30.0, **settings}
    return load_reward({"name": "code", **settings}).score([text_item(text, metadata=row)])[0]


@pytest.mark.parametrize(
    ("row", "program"),
    [
        (MBPP, MBPP["code"]),
        (MBPP, "def shared(a, b):\n    return sorted(set(a) & set(b)) and tuple(set(a) & set(b)) or ()"),
        (HUMAN_EVAL, "def total(xs):\n    return 2 * sum(xs)"),
        (HUMAN_EVAL, "    return twice(sum(xs))"),
        (KODCODE, STACK),
    ],
    ids=["mbpp", "mbpp-other", "humaneval", "humaneval-goes-on", "kodcode"],
)
def test_a_right_program_has_full_marks(row, program):
    found = score(program, row)
    assert found.value == 1.0, found.detail
    assert found.parts == {"passed": 1.0, "timeouts": 0.0}


def test_a_wrong_program_has_its_share():
    found = score("def shared(a, b):\n    return (4,)", MBPP, partial=True)
    assert found.value == pytest.approx(1 / 3) and "AssertionError" in found.detail
    found = score(STACK.replace("values.clear()", "pass"), KODCODE, partial=True)
    assert found.value == pytest.approx(4 / 5) and "test_many" in found.detail


@pytest.mark.parametrize(
    "program",
    [
        "import os\nos._exit(0)",
        "class Any(tuple):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef shared(a, b): return Any((7,))",
        "class Any:\n    def __eq__(self, other): return True\n    def __iter__(self): return iter((1, 2))\n"
        "def shared(a, b): return Any()",
        "def shared(a, b): raise SystemExit(0)",
        "set = lambda value: 0\ndef shared(a, b): return 0",
        "import os, json\nverdict = json.dumps({'passed': 3, 'total': 3, 'detail': ''})\nfor number in range(3, 20):\n"
        "    try: os.pwrite(number, verdict.encode(), 0)\n    except OSError: pass\nos._exit(0)",
        "import os, json\nverdict = json.dumps({'passed': 3, 'total': 3, 'detail': ''})\n"
        "try: open(f'/proc/{os.getppid()}/fd/3', 'w').write(verdict)\nexcept OSError: pass\nos._exit(0)",
        "import os, json, signal\nprint(json.dumps({'passed': 3, 'total': 3, 'detail': ''}))\nos.kill(os.getppid(), 9)",
        "open('examiner.py', 'w').write('x')\nopen('program.py', 'w').write('x')\ndef shared(a, b): return ()",
    ],
    ids=["exit", "equal-tuple", "equal-object", "exit-in-call", "built-in", "descriptors", "proc", "kill", "files"],
)
def test_no_way_around_the_tests(program):
    found = score(program, MBPP)
    assert found.value == 0.0 and found.usable


@pytest.mark.parametrize(
    "own",
    [
        "def abs(value): return 0",
        "class math:\n    fabs = isclose = staticmethod(lambda *_: 0)",
        "def near(*_): return 1",
    ],
    ids=["built-in", "import", "helper"],
)
def test_a_program_replaces_nothing_that_its_tests_mean(own):
    """Also where they take all of its names."""
    row = {
        "test": "import math\ndef near(a, b): return abs(a - b) < 1e-9\nfrom solution import *\n"
        "def test_it():\n    assert near(half(3), 1.5) and math.fabs(half(3) - 1.5) < 1e-9\n"
    }
    assert score(f"{own}\ndef half(x): return x / 2", row).value == 1.0
    assert score(f"{own}\ndef half(x): return 0", row).value == 0.0


def test_what_expects_is_nowhere_in_the_programs_process():
    """The program looks for the expected value in its memory, its folder, its parent and its descriptors."""
    program = (
        "import gc, os, sys\nseen = [repr(each) for each in gc.get_objects() if isinstance(each, (str, list, dict, tuple))]\n"
        "for name in os.listdir('.'):\n    seen.append(open(name, errors='replace').read())\n"
        "for number in range(3, 20):\n    try: seen.append(os.pread(number, 100000, 0).decode())\n    except OSError: pass\n"
        "for name in ('mem', 'environ', 'cmdline'):\n    try: seen.append(open(f'/proc/{os.getppid()}/{name}').read())\n"
        "    except (OSError, UnicodeDecodeError): pass\n"
        "def word():\n    needle = ''.join(reversed('hsifarbez'))\n"
        "    return needle if any(needle in each for each in seen) else 'not found'"
    )
    row = {"test_list": ["assert word() != 'not found' and word() == 'zebrafish'"]}
    assert score(program, row).value == 0.0


def test_an_endless_program_is_a_timeout_and_keeps_what_it_passed():
    program = "def shared(a, b):\n    while len(a) == 0: pass\n    return tuple(sorted(set(a) & set(b)))"
    found = score(program, MBPP, deadline_s=3.0, partial=True)
    assert found.parts["timeouts"] == 1.0 and found.value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"test_list": "assert 1"}, "test_list: expected a list"),
        ({"test_list": [1]}, "test_list: expected a list"),
        ({"test": "x" * 300_000}, "300,000 characters"),
        ({"test": "def check(c): pass", "entry_point": "a b"}, "is no name of a function"),
        ({"tests": [{"x": 1}]}, "allowed: {input, output}"),
    ],
)
def test_rows_that_cannot_be_read_are_told(row, said):
    assert said in str(row_tests(text_item("", metadata=row)))


def test_rows_without_tests_have_no_such_reward():
    assert is_absent(score("x = 1", {})) and is_absent(score("x = 1", {"test": " ", "test_list": []}))


def test_humanevals_own_row_has_its_prompt_as_message():
    row = {key: value for key, value in HUMAN_EVAL.items() if key != "starter"}
    item = RewardItem(Prompt("p", Task.TEXT, (Message("user", STARTER),), metadata=row))
    suite = row_tests(item)
    assert isinstance(suite, Suite) and suite.starter == STARTER and suite.before.endswith("2 * x\n\n")
    assert json.loads(suite.request("    return 1")["input"])["program"].startswith("from typing")


def test_test_code_that_does_not_run_gives_nothing():
    for test in ("def check(", "import nothing_like_this", "x = 1"):
        found = score(STACK, {"test": test})
        assert found.value == 0.0 and found.detail

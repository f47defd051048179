"""Programs in the sandbox: right, wrong, and everything that a program should not get away with."""

import psutil
import pytest

from rewards.base import is_absent
from rewards.code import close_sandboxes, program_of
from rewards.registry import load_reward
from tests.rewards.makers import text_item

STDIN = [{"input": "3 4\n", "output": "7\n"}, {"input": "10 -4", "output": "6"}]
CALL = [{"function": "square", "args": [3], "expected": [9, 0.5]}]
SUM = "a, b = map(int, input().split())\nprint(a + b)"


def score(program, tests=STDIN, **settings):
    settings = {"deadline_s": 5.0, **settings}
    (found,) = load_reward({"name": "code", **settings}).score(
        [text_item(f"<think>x</think>```python\n{program}\n```", metadata={"tests": tests})]
    )
    return found


def test_a_right_program_passes_and_a_wrong_one_does_not():
    assert score(SUM).value == 1.0
    assert score("print(7)").value == 0.0 and score("print(7)", partial=True).value == 0.5
    assert score("def square(x):\n    return (x * x, 0.1 + 0.4)", CALL).value == 1.0
    assert score("def square(x):\n    return [x * x, 1]", CALL).value == 0.0


@pytest.mark.parametrize(
    "program",
    [
        "import os; os._exit(0)",
        "raise SystemExit(0)",
        "def square(x):\n    import sys; print('[9, 0.5]'); sys.exit(0)",
        "class Any:\n    def __eq__(self, other): return True\ndef square(x): return Any()",
        "import sys, atexit\nsys.stdout.write('[9, 0.5]')\ndef square(x): raise SystemExit(0)",
    ],
)
def test_no_way_around_the_tests(program):
    assert score(program, CALL).value == 0.0


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("while True: pass", "no end within 1 s"),
        ("x = bytearray(4 << 30)", "MemoryError"),
        ("open('big', 'wb').write(bytes(8 << 20))", "File too large"),
        ("1 / 0", "ZeroDivisionError"),
        ("import os; print(os.environ['HOME'])", "KeyError"),
        ("def f(", "SyntaxError"),
    ],
)
def test_limits_hold_and_are_named(program, said):
    found = score(program, deadline_s=1.0)
    assert found.value == 0.0 and found.usable and said in found.detail


def test_a_program_that_floods_or_forks_ends_and_leaves_nothing():
    for program in ("while True: print('x' * 10_000)", "import os, time\nos.fork(); os.setsid()\ntime.sleep(60)"):
        assert score(program, deadline_s=0.5).value == 0.0
    close_sandboxes()
    ours = psutil.Process().children(recursive=True)
    left = [p for p in ours if "rewards.sandbox.program:run" in p.cmdline()]
    _, alive = psutil.wait_procs(left, timeout=5.0)  # the kernel takes a moment to end a killed tree
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def test_without_a_network():
    found = score("import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)")
    assert found.value == 0.0 and "unreachable" in found.detail


def test_a_programs_imports_are_the_standard_librarys():
    """``rewards/math`` and ``rewards/code.py`` have names of the standard library's."""
    program = "import code, math\nassert 'rewards' not in code.__file__ and math.pi > 3\n" + SUM
    assert score(program).value == 1.0, score(program).detail


def test_what_is_a_program_and_what_are_tests():
    assert program_of("```\nfirst\n```\ntext\n```py\nlast\n```") == "last\n" and program_of("print(1)") == "print(1)"
    assert program_of("<think>never closed") is None
    assert is_absent(load_reward("code").score([text_item("x")])[0])
    for tests in ("x", [{"input": "1"}], [{"function": "a b", "expected": 1}], [{}] * 65):
        assert score(SUM, tests).status.value == "invalid"
    assert (
        load_reward("code").score([text_item("<think>x", metadata={"tests": STDIN})])[0].status.value == "wrong_format"
    )


@pytest.mark.parametrize("value", ["float('inf')", "[float('inf')] * 2", "True", "10**400", "float('nan')"])
def test_no_value_equals_every_number(value):
    """``rewards.sandbox.values`` compares; its test has the kinds."""
    for expected in (5, 23.5, [7, 9]):
        test = {"function": "f", "args": [], "expected": expected}
        found = score(f"def f(): return {value}", [test])
        assert found.value == 0.0 and found.usable, found


def test_a_test_that_expects_what_equals_nothing_is_no_test():
    assert score(SUM, [{"function": "f", "args": [], "expected": [float("nan")]}]).status.value == "invalid"

"""The child process: limits, recovery, threads, and that nothing is left behind."""

import math
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rewards.sandbox.kernel import offers
from rewards.sandbox.parent import Isolated
from rl.errors import RewardError
from rl.types import ScoreStatus

HERE = "tests.rewards.isolated_functions"


@pytest.fixture(scope="module")
def misbehave():
    isolated = Isolated(f"{HERE}:misbehave", memory_mb=512)
    isolated.warm()
    yield isolated
    isolated.close()


def test_returns_json_values_from_another_process(misbehave):
    outcome = misbehave.call({"do": "echo", "value": [1, "ä\0", None]}, 5.0)
    assert outcome.status is ScoreStatus.OK and outcome.value == [1, "ä\0", None]


def test_an_endless_loop_is_killed_at_its_deadline_and_replaced_at_once(misbehave):
    begin = time.monotonic()
    outcome = misbehave.call({"do": "loop"}, 0.2)
    assert outcome.status is ScoreStatus.TIMEOUT and "0.2 s" in outcome.detail
    again = misbehave.call({"do": "echo", "value": 1}, 5.0)
    assert again.value == 1
    assert time.monotonic() - begin < 2.0  # on a busy machine; the replacement itself takes milliseconds


def test_a_deadline_holds_in_code_that_ignores_signals(misbehave):
    assert misbehave.call({"do": "ignore_signals"}, 0.2).status is ScoreStatus.TIMEOUT


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raise", "ValueError: as asked"),
        ("exit", "exit code 3"),
        ("allocate", "out of memory"),
        ("recurse", "Recursion"),
    ],
)
def test_a_crash_is_reported_and_the_next_call_works(misbehave, what, said):
    outcome = misbehave.call({"do": what}, 5.0)
    assert outcome.status is ScoreStatus.CRASHED and said in outcome.detail
    assert misbehave.call({"do": "echo", "value": 2}, 5.0).value == 2


def framed(data):
    return struct.pack(">I", len(data)) + data


FRAMES = {
    "a list": framed(b"[]"),
    "null": framed(b"null"),
    "a number": framed(b"7"),
    "a text": framed(b'"value"'),
    "of another call": framed(b'{"call": "0000000000000000", "value": {"mark": 1.0}}'),
    "of no call": framed(b'{"value": {"mark": 1.0}}'),
    "too deep": framed(b"[" * 200_000),
    "too deep a value": framed(b'{"value": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "no JSON": framed(b"{value: 1}"),
    "no text": framed(b"\xff\xfe\x00"),
    "empty": framed(b""),
    "too many digits": framed(b'{"value": ' + b"9" * 20_000 + b"}"),
    "too long": struct.pack(">I", 0xFFFFFFFF),
    "longer than an answer": struct.pack(">I", 2 << 20) + b" " * 100,
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_what_is_no_answer_is_a_crash_and_the_next_call_works(misbehave, frame):
    outcome = misbehave.call({"do": "speak", "hex": frame.hex(), "times": 1, "every": 0, "value": 1}, 5.0)
    assert outcome.status is ScoreStatus.CRASHED and outcome.value is None and outcome.detail
    assert misbehave.call({"do": "echo", "value": 2}, 5.0).value == 2


def test_a_deadline_is_for_the_whole_answer(misbehave):
    """One byte of a frame each 0.1 s: no single wait is long, and all bytes come in the end."""
    drip = {"do": "speak", "hex": "20", "times": 40, "every": 0.1, "value": 1}
    for length in (4_000, 40):
        outcome = misbehave.call({**drip, "lead": struct.pack(">I", length).hex()}, 0.5)
        assert outcome.status is ScoreStatus.TIMEOUT and "0.5 s" in outcome.detail


def test_an_answer_that_was_written_before_its_question_is_none(misbehave):
    early = framed(b'{"call": "1", "value": 1.0}')
    assert misbehave.call({"do": "speak", "hex": early.hex(), "times": 5, "every": 0, "value": 1}, 5.0).value is None


def test_a_worker_makes_no_processes():
    sealed = Isolated(f"{HERE}:misbehave")
    try:
        assert sealed.call({"do": "fork", "times": 100}, 20.0).value == 0
    finally:
        sealed.close()


@pytest.mark.parametrize("rules", ["sealed", "network"])
@pytest.mark.parametrize("less", [(), ("namespaces", "room", "processes")], ids=["all", "no namespaces"])
def test_no_folder_is_left_of_a_worker_that_ends_or_is_ended(tmp_path, monkeypatch, rules, less):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    isolated = Isolated(f"{HERE}:misbehave", rules=rules, less=less)
    try:
        for what in ("echo", "exit", "loop", "echo"):
            isolated.call({"do": what, "value": 1}, 1.0)
        assert len(list(tmp_path.iterdir())) == (rules == "network")  # the idle worker's
    finally:
        isolated.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not offers.found().processes, reason=offers.line(offers.found()))
def test_a_users_function_has_not_more_than_its_processes():
    """As root it is ended, for its processes or for their memory; any other user's forks are refused."""
    function = Isolated(f"{HERE}:misbehave", memory_mb=2048, rules="network")
    try:
        outcome = function.call({"do": "fork", "times": 700}, 60.0)
        ended = ("it had more than 512 processes", "its processes took more than 2048 MiB together")
        assert (outcome.value or 0) < 512 and (outcome.value or outcome.detail in ended), outcome
        assert function.call({"do": "echo", "value": 2}, 20.0).value == 2
    finally:
        function.close()


def test_a_worker_that_was_used_once_meets_no_other_call():
    isolated = Isolated(f"{HERE}:misbehave")
    try:
        counts = [
            isolated.call({"do": "count"}, 5.0, once=once).value for once in (False, False, True, False, True, False)
        ]
    finally:
        isolated.close()
    assert counts == [1, 2, 3, 1, 2, 1]


def test_a_worker_cannot_write_a_file(misbehave, tmp_path):
    canary = tmp_path / "canary"
    outcome = misbehave.call({"do": "write", "path": str(canary)}, 5.0)
    assert outcome.status is not ScoreStatus.OK
    assert not canary.exists() or canary.stat().st_size == 0


def test_the_parents_secrets_are_not_in_its_environment(misbehave, monkeypatch):
    assert "HOME" in os.environ
    assert misbehave.call({"do": "environment"}, 5.0).value.get("HOME") is None


def test_calls_from_many_threads_get_their_own_answers(misbehave):
    answers = {}

    def ask(number):
        what = {"do": "loop"} if number % 4 == 0 else {"do": "echo", "value": number}
        answers[number] = misbehave.call(what, 0.3 if number % 4 == 0 else 10.0)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, outcome in answers.items():
        if number % 4 == 0:
            assert outcome.status is ScoreStatus.TIMEOUT
        else:
            assert outcome.value == number


def test_workers_are_recycled():
    isolated = Isolated(f"{HERE}:misbehave", recycle_after=3)
    counts = [isolated.call({"do": "count"}, 5.0).value for _ in range(7)]
    isolated.close()
    assert counts == [1, 2, 3, 1, 2, 3, 1]


def test_a_killed_template_is_replaced(misbehave):
    template = misbehave._template
    template.kill()
    template.wait()
    outcomes = [misbehave.call({"do": "echo", "value": 5}, 5.0) for _ in range(3)]
    assert outcomes[-1].value == 5 and misbehave._template.pid != template.pid


def test_a_missing_function_is_the_callers_mistake():
    with pytest.raises(RewardError, match="no_such_name"):
        Isolated(f"{HERE}:no_such_name").call({}, 1.0)


def test_nothing_is_left_running_when_the_parent_dies_in_the_middle(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, threading, time\n"
        "from rewards.sandbox.parent import Isolated\n"
        f"isolated = Isolated('{HERE}:misbehave')\n"
        "isolated.warm()\n"
        "threading.Thread(target=isolated.call, args=({'do': 'loop'}, 60.0), daemon=True).start()\n"
        "time.sleep(0.2)\n"
        "import psutil\n"
        "print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)\n"
        "os._exit(1)\n"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 4, done.stderr  # the template, the two of the supervisor, the worker
    deadline = time.monotonic() + 5.0
    while any(_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_running(pid) for pid in pids)


def test_a_fork_of_this_process_starts_its_own(misbehave):
    misbehave.warm()
    ours = misbehave._template.pid
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, b"ok" if misbehave._template is None and not misbehave._idle else b"no")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 2) == b"ok"
    assert misbehave._template.pid == ours and math.isfinite(misbehave.call({"do": "echo", "value": 1.5}, 5.0).value)


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_makes_no_file_starts_no_program_and_reaches_no_network(tmp_path):
    sealed = Isolated(f"{HERE}:try_to_leave")
    try:
        outcome = sealed.call({"file": str(tmp_path / "canary")}, 20.0)
    finally:
        sealed.close()
    assert outcome.value == {"file": "FileNotFoundError", "program": "PermissionError", "network": "OSError"}, outcome
    assert not list(tmp_path.iterdir())

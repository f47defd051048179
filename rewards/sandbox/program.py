"""Runs a model's program once: its text, its input, and perhaps a call. Everything here runs in ``first``, outside of it.

What the right answer is never comes here. A function's value has a file of its own, apart from what the program prints.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from rewards.sandbox.kernel import interpreter, syscalls
from rewards.sandbox.kernel.usage import OwnTime
from rewards.sandbox.seal import seal
from rewards.sandbox.supervisor import MOST_PROCESSES, Tree

_MAX_OUTPUT = 1 << 20  # bytes that are read of what it wrote
_ENVIRONMENT = {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_VALUE = 3  # a file descriptor
_FILE = "program.py"
_START_S = 1.0  # no program gets less on the clock than its deadline and this
LONGEST = 10  # times the deadline: what a program may take on the clock, where the machine is busy


def run(payload: Mapping[str, Any], deadline_s: float, tree: Tree) -> dict[str, Any]:
    """``{"program", "input"}`` and, to call a function, ``"function"`` and ``"args"`` (JSON as text).

    ``{"end": ok|timeout|error, "output", "value", "error"}``; value: JSON as the program wrote it.
    """
    assert tree.home is not None
    source = payload["program"]
    if "function" in payload:
        source += _call(payload["function"], payload["args"])
    path = os.path.join(tree.home, _FILE)
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(source)
    given, output, errors, value = files = [_file(tree.home) for _ in range(4)]
    _write(given, payload.get("input", "").encode("utf-8", "replace"))
    pid = os.fork()
    if pid == 0:
        _become(tree, deadline_s, files, source)
    status, why = tree.wait(pid, OwnTime(deadline_s, longest_s(deadline_s), time.monotonic()))
    return _ended(status, why, deadline_s, tree, _read(output), _read(value), _read(errors))


def warm_up() -> None:
    """In the template, once: what each program needs to know of this Python."""
    interpreter.isolated_path()


def longest_s(deadline_s: float) -> float:
    """Seconds on the clock after which a program is ended, whatever it waited for."""
    return LONGEST * deadline_s + _START_S


def _ended(
    status: int | None, why: str, deadline_s: float, tree: Tree, output: str, value: str, errors: str
) -> dict[str, Any]:
    code = None if status is None else os.waitstatus_to_exitcode(status)
    said = {"output": output, "value": value}
    if why == "memory":
        megabytes = tree.plan.memory >> 20
        return {**said, "end": "error", "error": f"it and its children took more than {megabytes} MiB together"}
    if why == "processes":
        return {**said, "end": "error", "error": f"it had more than {MOST_PROCESSES['program']} processes"}
    if code is None or code in (-signal.SIGXCPU, -signal.SIGKILL):
        return {**said, "end": "timeout", "error": f"no end within {deadline_s:g} s"}
    if code == 0:
        return {**said, "end": "ok", "error": ""}
    words = errors.strip().splitlines()
    return {**said, "end": "error", "error": words[-1][:200] if words else f"exit code {code}"}


def _become(tree: Tree, deadline_s: float, files: list[int], source: str) -> None:
    """In the child: give up what it may not have, then become the program."""
    try:
        assert tree.home is not None
        for number, file in enumerate([os.dup(each) for each in files]):  # away from the numbers that they go to
            os.dup2(file, number, inheritable=True)
        os.chdir(tree.home)
        seal(tree)
        cpu_s = math.ceil(deadline_s) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if sys.platform == "linux":
            syscalls.show_to_supervisor()
            interpreter.run(source, _FILE, _ENVIRONMENT, interpreter.isolated_path())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execve(sys.executable, [sys.executable, "-I", "-B", _FILE], _ENVIRONMENT)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)


def _call(function: str, arguments: str) -> str:
    """Appended to the program: call the function, and write its value as JSON to a file that the program did not open."""
    return (
        f"\n\nimport json as _json\n_value = {function}(*_json.loads({arguments!r}))\n"
        f"with open({_VALUE}, 'w', encoding='utf-8', closefd=False) as _file:\n    _file.write(_json.dumps(_value))\n"
    )


def _file(home: str) -> int:
    """A file without a name, outside the program's folder where the system has such files."""
    if sys.platform == "linux":
        return os.memfd_create("sandbox")
    with tempfile.TemporaryFile(dir=home) as file:
        return os.dup(file.fileno())


def _write(file: int, data: bytes) -> None:
    with open(file, "wb", closefd=False) as opened:
        opened.write(data)
    os.lseek(file, 0, os.SEEK_SET)


def _read(file: int) -> str:
    """From the start: where the program left its place in the file is its own affair."""
    parts, at = [], 0
    while at < _MAX_OUTPUT and (part := os.pread(file, _MAX_OUTPUT - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts).decode(errors="replace")

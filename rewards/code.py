"""Programs against tests, in a sandbox.

A row's metadata holds ``tests``, a list of ``{"input": stdin, "output": stdout}`` or ``{"function": name, "args": [...],
"expected": value}``. The expected values never enter the sandbox: a program's output is compared here, so that it cannot
read them, and ending early is no success.

What holds: a process of its own with a wall deadline, limits on CPU time, memory, processes, open files and file sizes, an
empty environment, a folder of its own that is deleted, and, where the kernel lets it (Landlock, user namespaces), no
writing anywhere else, no network, and a process tree that dies whole.

What does NOT hold: the program can read every file that this user can read; where namespaces are not allowed it can reach
the network and outlive its deadline in a session of its own (``namespaces="required"`` refuses to run there); it shares the
kernel. Against people who attack you, rather than a policy that explores, use a virtual machine.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.base import absent, invalid
from rewards.response import split_response
from rewards.sandbox.values import contains_nan, same_as_json
from rewards.sandbox.wire import plain
from rewards.settings import RewardSettings, setting
from rl.errors import RewardError
from rl.types import RewardItem, Score, ScoreStatus

_CHILD = Path(__file__).parent / "sandbox" / "program.py"
_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_MAX_PROGRAM, _MAX_OUTPUT, _MAX_TESTS = 100_000, 1 << 20, 64
_NAMESPACES = ("where possible", "required")


@dataclass(frozen=True, slots=True)
class Run:
    """How a program ended. end: ``ok``, ``timeout`` or ``error``."""

    end: str
    output: str
    error: str


@dataclass(frozen=True, kw_only=True)
class CodeSettings(RewardSettings):
    partial: bool = setting("give the share of tests passed, instead of 1 for all and 0 otherwise", False)
    deadline_s: float = setting("seconds for one test", 4.0, above=0)
    memory_mb: int = setting("address space of the program, MiB", 512, above=0)
    concurrency: int = setting("programs at a time", 2, above=0)
    namespaces: str = setting(
        "required: refuse to run where the kernel gives no namespaces", "where possible", choices=_NAMESPACES
    )

    def check(self) -> None:
        if self.namespaces == "required" and not has_namespaces():
            raise RewardError(
                "namespaces='required': this kernel or container lets this user make none; allow user namespaces, or "
                "accept what rewards/code.py says is not covered with namespaces='where possible'"
            )


class CodeReward:
    """1.0 where the program passes all tests, else 0.0; with ``partial``, the share that it passes.

    The program is the last fenced block of the answer, or all of it. ``parts``: ``passed`` (share) and ``timeouts``.
    """

    name = "code"
    largest = 1.0
    Settings = CodeSettings

    def __init__(self, settings: CodeSettings) -> None:
        self.partial, self.concurrency = settings.partial, settings.concurrency
        self.deadline_s, self.memory_mb = settings.deadline_s, settings.memory_mb

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        with ThreadPoolExecutor(self.concurrency) as threads:
            return list(threads.map(self._one, items))

    def _one(self, item: RewardItem) -> Score:
        tests = _tests(item)
        if tests is None:
            return absent()
        if isinstance(tests, str):
            return invalid(f"row {item.prompt.id}: {tests}")
        program = program_of(item.text)
        if program is None:
            return Score(0.0, ScoreStatus.WRONG_FORMAT, detail="no program in the response")
        began = time.perf_counter()
        passed = timeouts = 0
        detail = ""
        for test in tests:
            run = run_test(program, test, self.deadline_s, self.memory_mb)
            right = run.end == "ok" and is_right(run, test)
            passed, timeouts = passed + right, timeouts + (run.end == "timeout")
            if not right:
                detail = detail or run.error or "wrong output"
                if not self.partial:
                    break
        share = passed / len(tests)
        parts = {"passed": share, "timeouts": float(timeouts)}
        value = share if self.partial else float(passed == len(tests))
        return Score(value, parts=parts, seconds=time.perf_counter() - began, detail=detail)


def program_of(text: str) -> str | None:
    answer = split_response(text).answer
    blocks = _FENCE.findall(answer or "")
    program = blocks[-1] if blocks else answer
    return program if program and program.strip() and len(program) <= _MAX_PROGRAM and "\0" not in program else None


def run_test(program: str, test: Mapping[str, Any], deadline_s: float, memory_mb: int) -> Run:
    """One test of one program in a process of its own."""
    mark = secrets.token_hex(16)
    source = program + _caller(test, mark) if "function" in test else program
    with tempfile.TemporaryDirectory(prefix="unigrpo-code-", ignore_cleanup_errors=True) as folder:
        home, out = Path(folder, "home"), Path(folder, "out")
        home.mkdir()
        Path(home, "program.py").write_text(source, encoding="utf-8", errors="replace")
        Path(folder, "in").write_text(str(test.get("input", "")), encoding="utf-8", errors="replace")
        command = [sys.executable, "-I", "-S", str(_CHILD), str(home), str(memory_mb << 20), str(deadline_s)]
        with Path(folder, "in").open("rb") as given, out.open("wb") as output, Path(folder, "err").open("wb") as errors:
            process = subprocess.Popen(
                command, stdin=given, stdout=output, stderr=errors, env={"LANG": "C.UTF-8"}, start_new_session=True
            )
            try:
                code = process.wait(deadline_s + 1.0)  # starting the interpreter is not the program's time
            except subprocess.TimeoutExpired:
                code = None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        text = _read(out)
        if "function" in test:
            text = text.rpartition(mark)[2] if mark in text else ""
        words = _read(Path(folder, "err")).strip().splitlines()
    if code is None or code == 128 + signal.SIGALRM or code in (128 + signal.SIGXCPU, 128 + signal.SIGKILL):
        return Run("timeout", text, f"no end within {deadline_s:g} s")
    if code == 0:
        return Run("ok", text, "")
    return Run("error", text, words[-1][:200] if words else f"exit code {code}")


def is_right(run: Run, test: Mapping[str, Any]) -> bool:
    """Standard output line by line without blanks at the ends; a function's value by ``rewards.sandbox.values``."""
    if "function" not in test:
        return _lines(run.output) == _lines(str(test["output"]))
    return same_as_json(run.output, test["expected"])


@functools.cache
def has_namespaces() -> bool:
    """Whether a process of this user may have a network and process tree of its own."""
    done = subprocess.run([sys.executable, "-I", "-S", str(_CHILD), "--probe"], capture_output=True, timeout=20)
    return done.returncode == 0


def _caller(test: Mapping[str, Any], mark: str) -> str:
    """Appended to the program: call the function, print its value as JSON after a mark that it could not know before."""
    arguments = json.dumps(plain(test.get("args", [])))
    return (
        f"\n\nimport json as _json, sys as _sys\n_value = {test['function']}(*_json.loads({arguments!r}))\n"
        f"_sys.stdout.write({mark!r} + _json.dumps(_value)); _sys.stdout.flush()\n"
    )


def _tests(item: RewardItem) -> list[Mapping[str, Any]] | str | None:
    """The row's tests, None where it has none, or what is wrong with them."""
    extra = item.prompt.metadata.get("extra_info")
    tests = item.prompt.metadata.get("tests") or (extra.get("tests") if isinstance(extra, Mapping) else None)
    if tests is None:
        return None
    if not isinstance(tests, Sequence) or isinstance(tests, str) or not 0 < len(tests) <= _MAX_TESTS:
        return f"tests: expected a list of 1 to {_MAX_TESTS}"
    for test in tests:
        of_stdout = isinstance(test, Mapping) and "output" in test
        of_function = isinstance(test, Mapping) and "expected" in test and str(test.get("function", "")).isidentifier()
        if not (of_stdout or of_function):
            return f"tests: {str(test)[:80]!r}; allowed: {{input, output}} or {{function, args, expected}}"
        if contains_nan(test.get("expected")):
            return f"tests: {str(test)[:80]!r} expects NaN, which equals nothing; write a function that says whether it is NaN"
    return list(tests)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MAX_OUTPUT).decode(errors="replace")

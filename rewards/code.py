"""Programs against tests, in a sandbox.

A row's metadata holds ``tests``, a list of ``{"input": stdin, "output": stdout}`` or ``{"function": name, "args": [...],
"expected": value}``. The expected values never enter the sandbox: a program's output is compared here, so that it cannot
read them, and ending early is no success. Or it holds the test code of MBPP, HumanEval or KodCode (``rewards.programs.rows``).
Such code runs in the sandbox too, in a process beside the program's, which gets calls and never a test.

What holds, where the kernel lets it (user namespaces, Landlock, system call filters; ``unigrpo doctor`` says): a process
tree of its own that ends whole at a deadline, whatever it does about sessions and signals; limits on its time, memory,
processes and disk together; no network; no files but Python's own and a folder in memory; no other process in sight. See
``rewards.sandbox.parent``.

What does NOT hold: it shares the kernel, and the processor's caches. Against people who attack you, rather than a policy
that explores, use a virtual machine.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rewards.base import absent, failed, invalid
from rewards.programs.rows import Suite, row_tests
from rewards.response import final_answer
from rewards.sandbox.parent import Isolated
from rewards.sandbox.program import longest_s
from rewards.sandbox.values import same_as_json
from rewards.sandbox.wire import plain
from rewards.settings import RewardSettings, setting
from rl.errors import RewardError, UniGRPOError, one_line
from rl.types import RewardItem, Score, ScoreStatus

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_MAX_PROGRAM = 100_000
_CHECK_S = 60.0  # for one line on a busy machine
_GRACE_S = 5.0  # beyond the longest that its supervisor lets it run: a busy machine starts it late
_WAITING = 4  # programs that only wait, for each that runs

_sandboxes: dict[int, Isolated] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Run:
    """How a program ended. end: ``ok``, ``timeout`` or ``error``. output: what it printed, or a function's value as JSON."""

    end: str
    output: str
    error: str


@dataclass(frozen=True, kw_only=True)
class CodeSettings(RewardSettings):
    partial: bool = setting("give the share of tests passed, instead of 1 for all and 0 otherwise", False)
    deadline_s: float = setting("seconds of its own for one test, or for all of a row's test code", 4.0, above=0)
    memory_mb: int = setting("memory of the program and its children, MiB", 512, above=0)
    concurrency: int = setting("programs at a time, beside up to four times as many that only wait", 2, above=0)


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
        places = threading.Semaphore(self.concurrency)
        with ThreadPoolExecutor(self.concurrency * (1 + _WAITING)) as threads:
            return list(threads.map(lambda item: self._safely(item, places), items))

    def _safely(self, item: RewardItem, places: threading.Semaphore) -> Score:
        """What goes wrong with one item is that item's."""
        try:
            return self._one(item, places)
        except UniGRPOError:  # of the sandbox: no program runs
            raise
        except Exception as error:
            return failed(ScoreStatus.CRASHED, f"row {item.prompt.id}: {one_line(error)}")

    def _one(self, item: RewardItem, places: threading.Semaphore) -> Score:
        tests = row_tests(item)
        if tests is None:
            return absent()
        if isinstance(tests, str):
            return invalid(f"row {item.prompt.id}: {tests}")
        program = program_of(item.text)
        if program is None:
            return Score(0.0, ScoreStatus.WRONG_FORMAT, detail="no program in the response")
        began = time.perf_counter()
        if isinstance(tests, Suite):
            share, timeouts, detail = self._examined(program, tests, places)
        else:
            share, timeouts, detail = self._tried(program, tests, places)
        parts = {"passed": share, "timeouts": float(timeouts)}
        value = share if self.partial else float(share == 1.0)
        return Score(value, parts=parts, seconds=time.perf_counter() - began, detail=detail)

    def _examined(self, program: str, suite: Suite, places: threading.Semaphore) -> tuple[float, int, str]:
        """Share of tests passed, timeouts, and why one was not passed. All tests of a suite have one deadline together."""
        run = _run(suite.request(program), self.deadline_s, self.memory_mb, places=places)
        try:
            verdict = json.loads(run.output)
            passed, total, detail = int(verdict["passed"]), int(verdict["total"]), str(verdict["detail"])
        except (ValueError, TypeError, KeyError):
            passed, total, detail = 0, 1, run.error or "its tests did not begin"
        return passed / total, int(run.end == "timeout"), detail or run.error

    def _tried(
        self, program: str, tests: Sequence[Mapping[str, Any]], places: threading.Semaphore
    ) -> tuple[float, int, str]:
        passed = timeouts = 0
        detail = ""
        for test in tests:
            run = run_test(program, test, self.deadline_s, self.memory_mb, places)
            right, why = _judged(run, test)
            passed, timeouts = passed + right, timeouts + (run.end == "timeout")
            if not right:
                detail = detail or why
                if not self.partial:
                    break
        return passed / len(tests), timeouts, detail


def program_of(text: str) -> str | None:
    answer = final_answer(text)
    blocks = _FENCE.findall(answer or "")
    program = blocks[-1] if blocks else answer
    return program if program and program.strip() and len(program) <= _MAX_PROGRAM and "\0" not in program else None


def run_test(
    program: str,
    test: Mapping[str, Any],
    deadline_s: float,
    memory_mb: int,
    places: threading.Semaphore | None = None,
) -> Run:
    """One test of one program in a process tree of its own. Raises RewardError where the sandbox itself does not work.

    places: of programs that run at a time. One that only waits gives its place to another.
    """
    request = {"program": program, "input": str(test.get("input", ""))}
    if "function" in test:
        request |= {"function": test["function"], "args": json.dumps(plain(test.get("args", [])))}
    return _run(request, deadline_s, memory_mb, "value" if "function" in test else "output", places)


def _run(
    request: Mapping[str, Any],
    deadline_s: float,
    memory_mb: int,
    said: str = "value",
    places: threading.Semaphore | None = None,
) -> Run:
    """said: whether the output is what the program printed, or what it wrote as its value."""
    child = _sandbox(memory_mb)
    with _Place(places) as place:
        grace_s = longest_s(deadline_s) - deadline_s + _GRACE_S
        outcome = child.call(request, deadline_s, grace_s=grace_s, waits=place.leave)
    if outcome.status is ScoreStatus.TIMEOUT:
        return Run("timeout", "", f"no end within {deadline_s:g} s")
    if outcome.status is not ScoreStatus.OK:
        _check(child)  # where others run, this program broke it, which is not to be worth more than a wrong answer
        return Run("error", "", outcome.detail)
    return Run(outcome.value["end"], outcome.value[said], outcome.value["error"])


class _Place:
    """Among those that run; left once."""

    def __init__(self, places: threading.Semaphore | None) -> None:
        self.places = places

    def leave(self) -> None:
        places, self.places = self.places, None
        if places is not None:
            places.release()

    def __enter__(self) -> _Place:
        if self.places is not None:
            self.places.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def _sandbox(memory_mb: int) -> Isolated:
    """Of this process, one for each size; tried before its first use."""
    with _lock:
        if memory_mb not in _sandboxes:
            child = Isolated("rewards.sandbox.program:run", memory_mb, recycle_after=1, rules="program")
            try:
                _check(child)
            except RewardError:
                child.close()
                raise
            _sandboxes[memory_mb] = child
        return _sandboxes[memory_mb]


def close_sandboxes() -> None:
    """End their processes; the next program starts new ones."""
    with _lock:
        while _sandboxes:
            _sandboxes.popitem()[1].close()


def _check(child: Isolated) -> None:
    """That a program of one line runs: else every program would be wrong. Raises RewardError."""
    outcome = child.call({"program": "print('ok')"}, _CHECK_S)
    if outcome.status is not ScoreStatus.OK or outcome.value["output"] != "ok\n":
        why = outcome.value["error"] if outcome.status is ScoreStatus.OK else outcome.detail
        raise RewardError(
            f"the sandbox cannot run Python with {child.memory >> 20} MiB: {why}; give it more memory_mb, and see "
            "`unigrpo doctor`"
        )


def _judged(run: Run, test: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether it passed, and why not. Nothing that a program writes raises here: it is wrong."""
    if run.end != "ok":
        return False, run.error
    try:
        return is_right(run, test), "wrong output"
    except Exception as error:
        return False, f"its output cannot be compared: {type(error).__name__}"


def is_right(run: Run, test: Mapping[str, Any]) -> bool:
    """Standard output line by line without blanks at the ends; a function's value by ``rewards.sandbox.values``."""
    if "function" not in test:
        return _lines(run.output) == _lines(str(test["output"]))
    return same_as_json(run.output, test["expected"])


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]

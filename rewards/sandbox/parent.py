"""Killable children with limits: the only place where a model's text meets anything that evaluates it.

``Isolated("module:function")`` runs that function on JSON in a worker process with one deadline for the whole exchange, a
CPU limit and an address-space limit. Workers are forked from a template process that has imported everything and has one
thread, so a killed one is replaced in milliseconds and no process with threads is ever forked. Any thread may call it.

| rules | what runs | files | processes, programs | network |
|---|---|---|---|---|
| ``sealed`` | a function of ours on hostile text | reads Python and its packages, writes nothing | threads alone | none |
| ``program`` | a model's program, one a call | reads Python, writes a folder of 32 MiB | 64 | none |
| ``network`` | a user's function | reads all, writes a folder in memory | 512 | TCP and UDP |
| ``open`` | a user's function, when it is checked | all | all | all |

The first three are process 1's children in namespaces of their own, under Landlock and a system call filter
(``rewards.sandbox.supervisor``). ``rewards.sandbox.kernel.offers`` says what of that this kernel lacks. All share the kernel:
against people who attack you, rather than a policy that explores, use a virtual machine.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rewards.sandbox.frames import MAX_FRAME, receive_frame, send_frame
from rewards.sandbox.supervisor import MOST_PROCESSES, TOO_MANY_PROCESSES, TOO_MUCH_MEMORY
from rl.errors import DeadlineError, RewardError, one_line
from rl.types import ScoreStatus

_START_S = 120.0  # importing a computer algebra system on a busy machine
_CONTROL_S = 20.0
_GRACE_S = 5.0
_LONGEST_REASON = 2_000  # characters
# bytes: JSON takes some thirty times its length in memory
_LONGEST_ANSWER = {"sealed": 1 << 20, "program": 32 << 20, "network": 16 << 20, "open": MAX_FRAME}
Rules = Literal["sealed", "program", "network", "open"]
logger = logging.getLogger("unigrpo.rewards.sandbox")
_LIVE: weakref.WeakSet[Isolated] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call: ``ok`` with the function's JSON value, or ``timeout`` or ``crashed`` with a reason."""

    status: ScoreStatus
    value: Any = None
    detail: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class _Worker:
    channel: socket.socket
    pid: int
    template: subprocess.Popen[bytes] | None
    served: int = 0


class Isolated:
    """Calls ``module:function`` in worker processes; one worker per concurrent call, reused up to ``recycle_after``."""

    def __init__(
        self,
        target: str,
        memory_mb: int | None = 768,
        recycle_after: int = 500,
        *,
        rules: Rules = "sealed",
        less: Sequence[str] = (),
    ) -> None:
        """memory_mb: for the whole tree; None is no limit. less: names of ``offers.Offer`` that a test goes without."""
        self.target = target
        self.rules: Rules = rules
        self.memory = (memory_mb or 0) << 20
        self.recycle_after = recycle_after
        self._less = tuple(less)
        self._forget()
        _LIVE.add(self)

    def call(
        self,
        payload: Any,
        deadline_s: float,
        *,
        once: bool = False,
        grace_s: float = 0.0,
        waits: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """The function's value, or why there is none. Never raises for what the function does.

        deadline_s  from the first byte of the question to the last of the answer
        once        the worker is ended afterwards: for what it may have evaluated, so that no other call meets it
        grace_s     that the worker is not told of: it has a deadline of its own
        waits       called once where a program only waits, so that another one may run beside it
        Raises RewardError where the function cannot be imported, DeadlineError where the template does not start.
        """
        try:
            worker = self._take()
        except (OSError, EOFError) as error:
            return Outcome(ScoreStatus.CRASHED, detail=f"no worker process: {type(error).__name__}: {error}")
        begin = time.monotonic()
        status, value, detail = self._exchange(worker, payload, deadline_s, begin + deadline_s + grace_s, waits)
        seconds = time.monotonic() - begin
        spent = once or worker.served >= self.recycle_after
        if status is not ScoreStatus.OK or spent or not self._keep(worker):
            gone = status is ScoreStatus.CRASHED and not detail
            code = self._drop(worker, gone)
            if gone:
                detail = self._ended(code)
        return Outcome(status, value, detail, seconds)

    def warm(self) -> None:
        """Start the template and one worker now, so that the first call does not wait."""
        self._keep(self._take())

    def close(self) -> None:
        """End the template and all workers."""
        with self._lock:
            if self._control is not None:
                self._control.close()
            if self._template is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._template.wait(_GRACE_S)  # it collects its workers, then ends
            self._control = None
            self._abandon()

    def _forget(self) -> None:
        """The state before anything was started; also that of a fork of this process, which owns none of it."""
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._template: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def _exchange(
        self, worker: _Worker, payload: Any, deadline_s: float, end: float, waits: Callable[[], None]
    ) -> tuple[ScoreStatus, Any, str]:
        """Whatever the other side sends, or does not send: a status. What is no answer of its form is a crash.

        The answer repeats a number of this call: what was written before the question is no answer to it.
        """
        worker.served += 1
        number = secrets.token_hex(8)
        try:
            send_frame(worker.channel, {"call": number, "payload": payload, "deadline_s": deadline_s}, end)
            reply = receive_frame(worker.channel, end, _LONGEST_ANSWER[self.rules])
            if self.rules == "program" and reply == {"call": number, "waits": True}:
                waits()
                reply = receive_frame(worker.channel, end, _LONGEST_ANSWER[self.rules])
        except TimeoutError:
            return ScoreStatus.TIMEOUT, None, f"no result within {deadline_s:g} s"
        except (OSError, EOFError):
            return ScoreStatus.CRASHED, None, ""
        except ValueError as error:
            return ScoreStatus.CRASHED, None, f"its answer cannot be read: {one_line(error)[:200]}"
        if not isinstance(reply, dict) or reply.get("call") != number or not {"crashed", "value"} & set(reply):
            return ScoreStatus.CRASHED, None, "what it sent is no answer to this call"
        if "crashed" in reply:
            return ScoreStatus.CRASHED, None, str(reply["crashed"])[:_LONGEST_REASON]
        return ScoreStatus.OK, reply["value"], ""

    def _ended(self, code: int) -> str:
        if code == TOO_MUCH_MEMORY:
            return f"its processes took more than {self.memory >> 20} MiB together"
        if code == TOO_MANY_PROCESSES:
            return f"it had more than {MOST_PROCESSES[self.rules]} processes"
        return "the process ended with " + (f"signal {-code}" if code < 0 else f"exit code {code}")

    def _take(self) -> _Worker:
        with self._lock:
            if self._template is not None and self._template.poll() is not None:
                self._abandon()
            if self._idle:
                return self._idle.pop()
            try:
                return self._spawn()
            except (OSError, EOFError):  # the template was killed from outside: once more with a new one
                self._abandon()
                return self._spawn()

    def _spawn(self) -> _Worker:
        control = self._control or self._start()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(control, [b"spawn"], [theirs.fileno()])
            return _Worker(ours, int(receive_frame(control)["pid"]), self._template)
        except BaseException:
            ours.close()
            raise

    def _keep(self, worker: _Worker) -> bool:
        """Ready for the next call, unless its template is gone and it with it."""
        with self._lock:
            if worker.template is self._template:
                self._idle.append(worker)
            return worker.template is self._template

    def _drop(self, worker: _Worker, gone: bool) -> int:
        worker.channel.close()
        with self._lock:
            if self._control is None or worker.template is not self._template:
                return 0
            try:
                self._control.sendall(f"{'gone' if gone else 'drop'} {worker.pid}".encode())
                return int(receive_frame(self._control)["code"])
            except (OSError, EOFError):
                self._abandon()
                return 0

    def _abandon(self) -> None:
        """Let go of a template that does not answer; its workers die with it."""
        if self._control is not None:
            self._control.close()
        if self._template is not None:
            self._template.kill()
            self._template.wait()
        while self._idle:
            self._idle.pop().channel.close()
        self._template = self._control = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        child = [sys.executable, "-P", "-m", "rewards.sandbox.template"]  # -P: no module of the folder it is started in
        with theirs:
            self._template = subprocess.Popen(
                [*child, str(theirs.fileno()), self.target, str(self.memory), self.rules, *self._less],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_environment(self.rules),
                start_new_session=True,  # an interrupt from the terminal is for the parent, whose end ends this too
            )
        ours.settimeout(_START_S)
        try:
            missing = receive_frame(ours)["missing"]
        except TimeoutError as error:
            self._template.kill()
            raise DeadlineError(f"{self.target}: its process did not start within {_START_S:g} s") from error
        except (OSError, EOFError) as error:
            reason = self._template.communicate()[1].decode(errors="replace").strip().splitlines()
            raise RewardError(f"{self.target}: its process did not start: {reason[-1] if reason else ''}") from error
        if missing and not self._less:
            _say_once(f"the sandbox is not whole: {'; '.join(missing)}")
        ours.settimeout(_CONTROL_S)
        self._control = ours
        return ours


def _environment(rules: Rules) -> dict[str, str]:
    """Nothing of the parent's environment but where Python finds modules: no tokens, no proxies. ``open``: all of it."""
    roots = [str(Path(__file__).parents[2]), *(entry or os.getcwd() for entry in sys.path)]
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    return {
        **(os.environ if rules == "open" else {}),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(roots)),
        "PATH": os.environ.get("PATH", ""),
        **({"TMPDIR": os.environ["TMPDIR"]} if "TMPDIR" in os.environ else {}),
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        **threads,
    }


@functools.cache
def _say_once(line: str) -> None:
    logger.warning(line)


def _close_all() -> None:
    for isolated in list(_LIVE):
        isolated.close()


def _forget_all() -> None:
    for isolated in list(_LIVE):
        isolated._forget()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_all)

"""One supervisor for everything that a model wrote, or that reads what a model wrote: two forks before anything of theirs.

    template -> outer -> first -> the program, or a worker that calls a function

``outer`` makes the namespaces and waits outside them; to end the tree it kills ``first`` from there. ``first`` is process 1
of its own process tree: whatever a program starts, in whatever session, is gone with it, and no signal from inside reaches
it. Without namespaces ``outer`` adopts what loses its parent, and ends it one by one. Standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from rewards.sandbox.folders import remove
from rewards.sandbox.kernel import room, syscalls
from rewards.sandbox.kernel.offers import ISOLATION, Offer, write_identities

TOO_MUCH_MEMORY, TOO_MANY_PROCESSES = 90, 91  # exit codes of ``first``
MOST_PROCESSES = {"program": 64, "network": 512}  # in a tree, with its threads where the kernel counts them for us
TICK_S = 0.01
_IDLE_TICK_S = 0.05
_POLL_S = 0.002
_FOLDER_BYTES, _FOLDER_FILES = 1 << 30, 1 << 16  # of a user's function
_SIGNALS = (signal.SIGTERM, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Plan:
    """rules    ``program``, ``sealed``, ``network`` or ``open``: see ``rewards.sandbox.parent``
    memory   bytes for the tree; 0: no limit
    layout   what is shown of the machine's files, and ``readable``, the same as a list of paths
    user     whom a program runs as, where it cannot be this process's user; None: it can
    """

    rules: str
    memory: int
    offer: Offer
    layout: room.Layout
    readable: tuple[str, ...]
    user: int | None = None

    @property
    def isolated(self) -> bool:
        return self.offer.namespaces and self.rules != "open"

    @property
    def in_room(self) -> bool:
        return self.isolated and self.offer.room and self.rules in ("program", "sealed")


@dataclass(frozen=True, slots=True)
class Tree:
    """What ``first`` knows. home: the one folder that may be written. processes: /proc of this tree, as an open folder."""

    plan: Plan
    home: str | None
    processes: int | None

    def wait(self, main: int, end: float | None = None, counted: bool = True) -> tuple[int | None, str]:
        """Until ``main`` ends: its status; None with why it was not waited for: ``timeout``, ``memory`` or ``processes``."""
        tick = TICK_S if end is not None else _IDLE_TICK_S
        while True:
            status = _collected(main)
            if status is not None:
                return status, ""
            if end is not None and time.monotonic() >= end:
                return None, "timeout"
            if counted and (excess := self._excess()):
                return None, excess
            if end is None and not counted:
                signal.sigwait({signal.SIGCHLD})
            else:
                signal.sigtimedwait(
                    {signal.SIGCHLD}, tick if end is None else min(tick, max(0.0, end - time.monotonic()))
                )

    def _excess(self) -> str:
        """What the tree has too much of. A single process has a limit of its own on its memory."""
        if self.processes is None:
            return ""
        pids = [int(name) for name in os.listdir(self.processes) if name.isdigit() and name != "1"]
        if len(pids) > MOST_PROCESSES.get(self.plan.rules, len(pids)):
            return "processes"
        if len(pids) < 2 or not self.plan.memory:
            return ""
        resident = sum(_number(self.processes, f"{pid}/statm", 1) * os.sysconf("SC_PAGE_SIZE") for pid in pids)
        if resident > self.plan.memory:  # then exactly, which takes longer
            resident = sum(_shared_out(self.processes, pid) for pid in pids)
        return "memory" if resident > self.plan.memory else ""


def start(plan: Plan, body: Callable[[Tree], int], ours: Callable[[], None]) -> int:
    """Fork a tree and return the pid of ``outer``, which ends with the tree on SIGTERM.

    body runs in ``first`` and returns the exit code. ours: closes, in ``outer``, what belongs to ``first`` alone.
    """
    told, tell = os.pipe()
    may, allow = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(told)
            os.close(allow)
            code = _outer(plan, body, ours, tell, may)
        finally:
            os._exit(code)
    os.close(tell)
    os.close(may)
    with contextlib.suppress(OSError):  # it has ended, which whoever waits for its answer finds out
        if os.read(told, 1) and plan.user is not None:
            write_identities(pid, None)
        os.write(allow, b"y")
    os.close(told)
    os.close(allow)
    return pid


def end(pid: int, patience_s: float = 0.0) -> int:
    """End a tree, and return the exit code as subprocess writes it (negative: the signal).

    patience_s: for one that is about to end by itself, so that its own code is known.
    """
    until = time.monotonic() + patience_s
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return _code(status)
            time.sleep(_POLL_S)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        return _code(os.waitpid(pid, 0)[1])
    return 0


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code > 128 else code


def _outer(plan: Plan, body: Callable[[Tree], int], ours: Callable[[], None], tell: int, may: int) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    os.setsid()
    identity = (os.geteuid(), os.getegid())
    if plan.isolated:
        syscalls.unshare(ISOLATION | (syscalls.NEW_NETWORK if plan.rules != "network" else 0))
    else:
        syscalls.adopt_orphans()
    syscalls.die_with_parent(signal.SIGTERM)
    os.write(tell, b"y")
    if not os.read(may, 1):
        return 1
    os.close(tell)
    os.close(may)
    if plan.isolated and plan.user is None:
        write_identities(os.getpid(), identity)
    home = None
    if plan.rules == "network" or (plan.rules == "program" and not plan.in_room):
        home = tempfile.mkdtemp(prefix="unigrpo-box-")
    life, alive = os.pipe()
    first = os.fork()
    if first == 0:
        code = 1
        try:
            os.close(alive)
            code = _first(plan, body, home, life)
        finally:
            os._exit(code)
    ours()
    try:
        return _until_it_ends(first)
    finally:
        if not plan.isolated:
            _end_descendants()
        if home is not None:
            remove(home)


def _first(plan: Plan, body: Callable[[Tree], int], home: str | None, life: int) -> int:
    syscalls.die_with_parent()
    if select.select([life], [], [], 0)[0]:  # the parent ended before that was said
        return 1
    processes = None
    if plan.isolated:
        syscalls.hide_from_debuggers()
        if plan.offer.room or plan.offer.processes:
            room.private_mounts()
        if plan.offer.processes:
            processes = room.own_processes(stay=plan.rules == "network")
            _no_more_namespaces(processes)
        if plan.in_room:
            room.enter(plan.layout, plan.user)
            home = room.HOME
        elif plan.offer.room and home is not None:
            room.read_only_everywhere()
            room.private_folder(home, _FOLDER_BYTES, _FOLDER_FILES)
    return body(Tree(plan, home, processes))


def _no_more_namespaces(processes: int) -> None:
    """In which a program would have all capabilities again. The system call filter says so too, where there is one."""
    with contextlib.suppress(OSError):
        file = os.open("sys/user/max_user_namespaces", os.O_WRONLY | os.O_CLOEXEC, dir_fd=processes)
        os.write(file, b"0")
        os.close(file)


def _until_it_ends(first: int) -> int:
    """The exit code of ``first``, a signal's as 128 and its number; SIGTERM ends it."""
    while True:
        if signal.sigwait(_SIGNALS) == signal.SIGTERM:
            os.kill(first, signal.SIGKILL)  # nobody else collects it, so the number is still its own
        pid, status = os.waitpid(first, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_descendants() -> None:
    """Those that lost their parent are this process's children."""
    while True:
        for pid in _descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _pause(seconds: float) -> None:
    """Or until a child ends, where the system can wait for both."""
    if sys.platform == "linux":
        signal.sigtimedwait({signal.SIGCHLD}, seconds)
    else:
        time.sleep(seconds)


def _descendants() -> list[int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    found = {os.getpid()}
    while grown := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= grown
    return list(found - {os.getpid()})


def _collected(main: int) -> int | None:
    """Collect all that has ended; the status of ``main`` where it is among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            found = status if pid == main else found
    return found


def _number(folder: int, name: str, place: int) -> int:
    return int(words[place]) if len(words := _text(folder, name).split()) > place else 0


def _shared_out(processes: int, pid: int) -> int:
    """Bytes, where memory that several processes share counts a part in each."""
    text = _text(processes, f"{pid}/smaps_rollup")
    for row in text.splitlines():
        if row.startswith("Pss:"):
            return int(row.split()[1]) << 10
    return _number(processes, f"{pid}/statm", 1) * os.sysconf("SC_PAGE_SIZE")


def _text(folder: int, name: str) -> str:
    """Of a file that may be gone by now."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(file) as opened:
            return opened.read()
    except OSError:
        return ""

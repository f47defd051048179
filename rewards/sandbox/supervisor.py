"""One supervisor for everything that a model wrote, or that reads what a model wrote: two forks before anything of theirs.

    template -> outer -> first -> the program, or a worker that calls a function

``outer`` makes the namespaces and waits outside them; to end the tree it kills ``first`` from there. ``first`` is process 1
of its own process tree: whatever a program starts, in whatever session, is gone with it, and no signal from inside reaches
it. Without namespaces ``outer`` adopts what loses its parent, and ends it one by one. Standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep

from rewards.sandbox.folders import remove
from rewards.sandbox.kernel import room, syscalls, usage
from rewards.sandbox.kernel.offers import ISOLATION, Offer, write_identities
from rewards.sandbox.kernel.usage import OwnTime

TOO_MUCH_MEMORY, TOO_MANY_PROCESSES = 90, 91  # exit codes of ``first``
MOST_PROCESSES = {"program": 64, "network": 512}  # in a tree, with its threads where the kernel counts them for us
TICK_S = 0.01
_IDLE_TICK_S = 0.05
_LOOKS_APART = 2  # times what a look takes
_MANY = 8  # processes: where they all run, they leave no processor to whoever looks at them
_WAITING_S, _WAITING_BYTES = 0.1, 64 << 20
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
    """What ``first`` knows.

    home       the one folder that may be written
    processes  /proc of this tree, as an open folder
    waits      to call once where a program only waits, so that another may run meanwhile
    """

    plan: Plan
    home: str | None
    processes: int | None
    waits: Callable[[], None] | None = None

    def wait(self, main: int, time: OwnTime | None = None, counted: bool = True) -> tuple[int | None, str]:
        """Until ``main`` ends: its status; None with why it was not waited for: ``timeout``, ``memory`` or ``processes``.

        time: what it may use; None: no limit. Without a /proc of the tree's own, all time on the clock is the program's.
        What is left of the tree is ended here, where it has namespaces: while the answer travels, it would still run.
        """
        try:
            said = self.waits is None
            while True:
                status = _collected(main)
                if status is not None:
                    return status, ""
                if time is None and not counted:
                    signal.sigwait({signal.SIGCHLD})
                    continue
                began = monotonic()
                with _Stopped() as stop:
                    why, idle = self._looked(time, counted, said, stop)
                if why:
                    return None, why
                if idle and self.waits is not None:
                    said = True
                    self.waits()
                signal.sigtimedwait({signal.SIGCHLD}, self._tick(time, said, monotonic() - began))
        finally:
            _signal_all(signal.SIGKILL)

    def _looked(self, time: OwnTime | None, counted: bool, said: bool, stop: Callable[[], None]) -> tuple[str, bool]:
        """Why it is to end, and whether it only waits."""
        now = monotonic()
        if self.processes is None:
            if time is not None:
                time.note(now, wants=False)
            return "timeout" if time is not None and time.is_over(now, 0.0) else "", False
        if counted:
            count = len(usage.processes(self.processes))
            if count > MOST_PROCESSES.get(self.plan.rules, count):
                return "processes", False
            if count > _MANY:
                stop()
        seen = usage.look(self.processes)
        if time is not None:
            time.note(now, seen.wants)
            if time.is_over(now, _ended_cpu_s() + seen.cpu_s):
                return "timeout", False
        if counted and self._take_too_much(seen.pids):
            return "memory", False
        return "", not said and time is not None and self._only_waits(time, seen)

    def _tick(self, time: OwnTime | None, idle: bool, look_s: float) -> float:
        """A look at many processes takes longer, and is taken less often."""
        usual = _IDLE_TICK_S if time is None or (idle and time.idle_in_a_row_s > _WAITING_S) else TICK_S
        tick = max(usual, _LOOKS_APART * look_s)
        return tick if time is None else max(0.0, min(tick, time.longest_s - (monotonic() - time.began)))

    def _only_waits(self, time: OwnTime, seen: usage.Look) -> bool:
        """It sleeps, and holds little memory: another may run beside it."""
        if self.processes is None or time.idle_in_a_row_s < _WAITING_S:
            return False
        own_network = self.plan.rules != "network"
        return usage.memory(self.processes, seen.pids, _WAITING_BYTES, own_network) <= _WAITING_BYTES

    def _take_too_much(self, pids: Sequence[int]) -> bool:
        """A single process has a limit of its own on its memory."""
        if self.processes is None or len(pids) < 2 or not self.plan.memory:
            return False
        return usage.memory(self.processes, pids, self.plan.memory, self.plan.rules != "network") > self.plan.memory


class _Stopped:
    """A tree that holds still, where it was told to, so that it can be looked at."""

    def __enter__(self) -> Callable[[], None]:
        self.is_needed = False
        return self._stop

    def _stop(self) -> None:
        self.is_needed = True
        _signal_all(signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        if self.is_needed:
            _signal_all(signal.SIGCONT)


def _signal_all(number: int) -> None:
    """To all others of this tree, where this is its process 1, and to nobody elsewhere."""
    if os.getpid() == 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, number)


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
    until = monotonic() + patience_s
    with contextlib.suppress(ChildProcessError):
        while monotonic() < until:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return _code(status)
            sleep(_POLL_S)
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


def _ended_cpu_s() -> float:
    """Of the tree's processes that were collected here, and of their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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

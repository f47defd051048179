"""What a tree of processes uses, read from its own /proc: processor time, memory, whether it wants to run.

``folder`` is that /proc, open. Process 1 is ours and does not count. A process may end while it is read. Standard library
alone. https://docs.kernel.org/filesystems/proc.html
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATE, _USED, _THREADS = 0, slice(11, 15), 17  # places in ``stat``, behind the name
_RUNNABLE = "R"
_NAMELESS = "/dev/zero (deleted)"  # memory that processes share: it stays while one has it mapped, resident or not
_SOCKET_BYTES = 212_992 + 4096  # that one holds of what nobody has read


@dataclass(frozen=True, slots=True)
class Look:
    """At one moment. cpu_s: of those that live, and of their children that they waited for. wants: one could run now."""

    pids: tuple[int, ...]
    cpu_s: float
    wants: bool


class OwnTime:
    """What a program has used of its deadline: its processor time, and the time in which nothing of it could have run.

    Time in which it wanted to run and got no processor is the machine's. So no program fails because others are busy, and
    none gets less than ``deadline_s`` on the clock, or more than ``longest_s``.
    """

    def __init__(self, deadline_s: float, longest_s: float, now: float) -> None:
        self.deadline_s, self.longest_s = deadline_s, longest_s
        self.began = self.seen = now
        self.idle_s = self.idle_in_a_row_s = 0.0

    def note(self, now: float, wants: bool) -> None:
        if wants:
            self.idle_in_a_row_s = 0.0
        else:
            self.idle_s += now - self.seen
            self.idle_in_a_row_s += now - self.seen
        self.seen = now

    def is_over(self, now: float, cpu_s: float) -> bool:
        """cpu_s: of all its processes, those that ended among them."""
        passed = now - self.began
        return passed >= self.longest_s or (passed >= self.deadline_s and cpu_s + self.idle_s >= self.deadline_s)


def processes(folder: int) -> tuple[int, ...]:
    return tuple(int(name) for name in os.listdir(folder) if name.isdigit() and name != "1")


def look(folder: int) -> Look:
    pids = processes(folder)
    ticks, wants = 0, False
    for pid in pids:
        words = _stat(folder, f"{pid}/stat")
        if not words:
            continue
        ticks += sum(int(each) for each in words[_USED])
        wants = wants or words[_STATE] == _RUNNABLE
        if not wants and int(words[_THREADS]) > 1:
            wants = any(_stat(folder, f"{task}/stat")[:1] == [_RUNNABLE] for task in _tasks(folder, pid))
    return Look(pids, ticks * _TICK_S, wants)


def memory(folder: int, pids: Sequence[int], limit: int, own_network: bool) -> int:
    """Bytes of all together; above the limit only where they are. own_network: all sockets in sight are the tree's.

    Pages of files are not counted. Exact sums take the kernel tens of milliseconds, so they are read where others say too much.
    """
    sizes = {pid: _sizes(folder, pid) for pid in pids}
    sockets = _sockets(folder) * _SOCKET_BYTES if own_network else 0
    seen = sum(private for _, private in sizes.values())
    if sum(size for size, _ in sizes.values()) + sockets <= limit:
        return seen + sockets
    shared: dict[str, int] = {}
    hidden = sum(sizes[pid][0] for pid in pids if not _note_shared(folder, pid, shared))
    common = sum(shared.values()) + sockets + hidden
    if common > limit or seen + common <= limit:
        return seen + common
    for pid in sorted(pids, key=lambda each: -sizes[each][1]):
        common += _shared_out(folder, pid, sizes[pid][1])
        if common > limit:
            break
    return common


def _sizes(folder: int, pid: int) -> tuple[int, int]:
    """Bytes of address space, and of private memory that is resident, where what several share counts in each."""
    words = [int(word) for word in _text(folder, _mapped(folder, pid, "statm")).split()]
    return (words[0] * _PAGE, max(0, words[1] - words[2]) * _PAGE) if len(words) > 2 else (0, 0)


def _mapped(folder: int, pid: int, name: str) -> str:
    """The path of a file about a process's memory: by a thread that still has it."""
    if _text(folder, f"{pid}/statm").startswith("0 "):
        for task in _tasks(folder, pid):
            if not _text(folder, f"{task}/statm").startswith("0 "):
                return f"{task}/{name}"
    return f"{pid}/{name}"


def _note_shared(folder: int, pid: int, shared: dict[str, int]) -> bool:
    """Put the size of each object by its number: at most that much of it is in memory. False for one that hides."""
    try:
        maps = _text(folder, _mapped(folder, pid, "maps"), refused=True)
    except PermissionError:
        return False
    for row in maps.splitlines():
        if row.endswith(_NAMELESS):
            place, _, offset, _, inode = row.split(maxsplit=5)[:5]
            begin, end = (int(each, 16) for each in place.split("-"))
            shared[inode] = max(shared.get(inode, 0), int(offset, 16) + end - begin)
    return True


def _shared_out(folder: int, pid: int, otherwise: int) -> int:
    """Bytes of private memory, where what several have counts a part in each."""
    rows = [row.split() for row in _text(folder, _mapped(folder, pid, "smaps_rollup")).splitlines()[1:]]
    parts = {words[0]: int(words[1]) << 10 for words in rows}
    return parts.get("Pss_Anon:", parts.get("Pss:", otherwise))


def _sockets(folder: int) -> int:
    words = _text(folder, "self/net/sockstat").split()
    return int(words[2]) if words[:2] == ["sockets:", "used"] else 0


def _tasks(folder: int, pid: int) -> Iterator[str]:
    try:
        file = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return
    try:
        yield from [f"{pid}/task/{name}" for name in os.listdir(file)]
    except OSError:
        return
    finally:
        os.close(file)


def _stat(folder: int, name: str) -> list[str]:
    """The words behind a process's name, which may hold anything."""
    return _text(folder, name).rpartition(")")[2].split()


def _text(folder: int, name: str, *, refused: bool = False) -> str:
    """Empty where it is gone, or may not be read. refused: raise PermissionError then."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(file, errors="replace") as opened:
            return opened.read()
    except OSError as error:
        if refused and isinstance(error, PermissionError):
            raise
        return ""

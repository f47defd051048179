"""A process and all that it started, looked at from outside: who they are, and what each holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Held:
    """One process. pss: bytes of its memory, shared pages divided by those who share them; rss where that is not told."""

    pid: int
    name: str
    pss: int
    rss: int
    files: int
    sockets: int
    threads: int


def tree(pid: int) -> list[Held]:
    """The process and its descendants; empty where it is gone."""
    try:
        root = psutil.Process(pid)
        everyone = [root, *root.children(recursive=True)]
    except psutil.Error:
        return []
    return [found for process in everyone if (found := held(process)) is not None]


def held(process: psutil.Process) -> Held | None:
    """None where it has ended meanwhile, or is another user's."""
    try:
        with process.oneshot():
            name, rss, threads = name_of(process.cmdline()), process.memory_info().rss, process.num_threads()
        files, sockets = _descriptors(process.pid)
        return Held(process.pid, name, _pss(process.pid) or rss, rss, files, sockets, threads)
    except (psutil.Error, OSError):
        return None


def name_of(command: list[str]) -> str:
    """Ray's title of an actor, or the program: ``ray::RankActor``, ``gcs_server``, ``python -m cluster.cli``."""
    if not command:
        return "gone"
    if command[0].startswith("ray::"):
        return re.split(r"[.\s(]", command[0])[0]
    program = Path(command[0]).name
    if not program.startswith("python"):
        return program
    told = [word for word in command[1:] if word != "-u"]
    if told[:1] == ["-m"] and len(told) > 1:
        return f"python -m {told[1]}"
    return f"python {Path(told[0]).name}" if told and not told[0].startswith("-") else "python"


def segments() -> int:
    """Files in /dev/shm."""
    try:
        return sum(1 for _ in os.scandir(SHARED_MEMORY))
    except OSError:
        return 0


def as_rows(found: list[Held]) -> list[dict[str, object]]:
    return [asdict(each) for each in found]


def _descriptors(pid: int) -> tuple[int, int]:
    """All open files, and how many of them are sockets."""
    kinds = list(_targets(pid))
    return len(kinds), sum(kind.startswith("socket:") for kind in kinds)


def _targets(pid: int) -> Iterator[str]:
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            yield os.readlink(entry.path)
        except OSError:
            continue


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)

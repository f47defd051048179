"""What this kernel offers a sandbox, found by trying; and in words, what does not hold where it offers less."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rewards.sandbox.kernel import landlock, room, seccomp, syscalls
from rl.errors import RewardError

NOBODY = 65534
ISOLATION = syscalls.NEW_USER | syscalls.NEW_PIDS | syscalls.NEW_IPC | syscalls.NEW_HOST_NAME  # mounts come later
_PROBE_S = 60.0


@dataclass(frozen=True, slots=True)
class Offer:
    """namespaces  processes, users, mounts and a network of one's own
    room        a file system of one's own (``rewards.sandbox.kernel.room``)
    processes   a /proc of one's own, in which a tree's memory is counted
    landlock    version; 0: none
    seccomp     system call filters, on a processor whose calls we know
    """

    namespaces: bool = False
    room: bool = False
    processes: bool = False
    landlock: int = 0
    seccomp: bool = False

    def without(self, *names: str) -> Offer:
        """The same with less, for tests."""
        return replace(self, **{name: type(getattr(self, name))(0) for name in names})


@functools.cache
def found() -> Offer:
    """This machine's. Tried in a process of its own, once: a process that has threads can make no user namespace."""
    if sys.platform != "linux":
        return Offer()
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-P", "-m", "rewards.sandbox.kernel.offers"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_PROBE_S, env={"PYTHONPATH": root, "LANG": "C.UTF-8"}
    )
    return Offer(**json.loads(done.stdout)) if done.returncode == 0 else Offer()


def probe() -> Offer:
    """By trying, in forks of this process, which must have one thread."""
    if sys.platform != "linux":
        return Offer()
    namespaces, shown, processes = _tried()
    filters = seccomp.supported() and _works(lambda: seccomp.restrict(seccomp.Calls()))
    return Offer(namespaces, shown, processes, landlock.version(), filters)


def missing(offer: Offer) -> list[str]:
    """What does not hold here, one clause a reason; nothing where everything does."""
    reasons = []
    if not offer.namespaces:
        reasons.append(
            "no user namespaces, so a tree of processes is ended one by one, and its memory, processes and disk are "
            "limited for each process alone"
            + ("" if offer.landlock >= 4 and offer.seccomp else ", and the network is open")
        )
    elif not offer.room:
        reasons.append("no mounts of its own, so what it writes is on the disk, without a limit for the tree")
    if offer.namespaces and not offer.processes:
        reasons.append("no /proc of its own, so memory is limited for each process alone")
    if not offer.room and offer.landlock < 1:
        reasons.append("no Landlock, so a program reads and writes every file that this user may")
    if not offer.namespaces and offer.landlock < landlock.SCOPES_SINCE:
        reasons.append("no Landlock of version 6 (Linux 6.12), so a program may signal this user's processes")
    if not offer.seccomp:
        reasons.append(
            "no system call filter, so the whole kernel is in reach"
            + ("" if offer.room else ", with Unix sockets and the modes of this user's files")
        )
    return reasons


def line(offer: Offer) -> str:
    """One line about this machine."""
    reasons = missing(offer)
    if not reasons:
        return f"namespaces, own files, Landlock {offer.landlock}, system call filter"
    return "the sandbox for models' programs and answers is not whole: " + "; ".join(reasons)


def check(sandbox: str) -> None:
    """``required``: that everything holds here. Raises RewardError in one line."""
    reasons = missing(found()) if sandbox == "required" else []
    if reasons:
        raise RewardError(
            f"rewards.sandbox=required: on {platform.node() or 'this machine'} there is {'; there is '.join(reasons)}; allow "
            "it, or accept that with rewards.sandbox=best_effort"
        )


def write_identities(pid: int, alone: tuple[int, int] | None) -> None:
    """Whom the user namespace of a process knows. alone: this user and group; None: root and nobody.

    Asked from inside the namespace, a process's own numbers are unknown. None takes root in the namespace outside.
    """
    if alone is not None:
        Path(f"/proc/{pid}/setgroups").write_text("deny")
    user, group = alone or (0, 0)
    nobody = "" if alone is not None else f"{NOBODY} {NOBODY} 1\n"
    Path(f"/proc/{pid}/gid_map").write_text(f"{group} {group} 1\n{nobody}")
    Path(f"/proc/{pid}/uid_map").write_text(f"{user} {user} 1\n{nobody}")


def _tried() -> tuple[bool, bool, bool]:
    """namespaces, room, processes."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            identity = (os.geteuid(), os.getegid())
            syscalls.unshare(ISOLATION | syscalls.NEW_NETWORK)
            write_identities(os.getpid(), identity)
            inner = os.fork()
            if inner == 0:
                _try_inside(writer)
            os.waitpid(inner, 0)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        said = answers.read()
    os.waitpid(pid, 0)
    return b"n" in said, b"r" in said, b"p" in said


def _try_inside(writer: int) -> None:
    """As the first process of a new tree: one letter for each thing that works."""
    with contextlib.suppress(BaseException):
        os.write(writer, b"n")
        room.private_mounts()
        with contextlib.suppress(OSError):
            room.own_processes()
            os.write(writer, b"p")
        room.enter(room.layout(room.readable()), None)
        os.write(writer, b"r")
    os._exit(0)


def _works(what: object) -> bool:
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            what()  # pyright: ignore
            code = 0
        os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(probe())))

"""Linux system calls that Python has no name for. Standard library alone; each raises OSError where the kernel refuses."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import struct
import sys
from typing import Any

NEW_MOUNTS, NEW_CGROUPS, NEW_HOST_NAME, NEW_IPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEW_USER, NEW_PIDS, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1 << 1, 1 << 2, 1 << 12, 1 << 14, 1 << 18
READ_ONLY, NO_SUID, NO_DEVICES = 1 << 0, 1 << 1, 1 << 2  # attributes of mount_setattr
_DETACH, _RECURSIVE, _HERE = 2, 0x8000, -100
_MOUNT_SETATTR = 442  # the same number on every architecture
_CAPABILITY_VERSION = 0x20080522
_PDEATHSIG, _DUMPABLE, _SUBREAPER, _NO_NEW_PRIVILEGES = 1, 4, 36, 38


@functools.cache
def libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


def call(number: int, *arguments: Any) -> int:
    """One system call by its number. Whole numbers travel as long, bytes as a pointer, None as 0."""
    return _checked(
        libc().syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    )


def unshare(flags: int) -> None:
    _checked(libc().unshare(ctypes.c_int(flags)))


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _checked(libc().mount(*texts, ctypes.c_ulong(flags), os.fsencode(options) if options else None))


def bind(source: str, target: str) -> None:
    """What is at ``source``, with all that is mounted beneath it, also at ``target``."""
    mount(source, target, None, MS_BIND | MS_REC)


def restrict_mount(target: str, attributes: int, *, beneath: bool) -> None:
    """Add attributes to a mount, and with ``beneath`` to all that is mounted in it (Linux 5.12)."""
    given = struct.pack("QQQQ", attributes, 0, 0, 0)
    call(_MOUNT_SETATTR, _HERE, os.fsencode(target), _RECURSIVE if beneath else 0, given, len(given))


def unmount(target: str) -> None:
    """Out of sight at once; gone when nobody holds it open."""
    _checked(libc().umount2(os.fsencode(target), ctypes.c_int(_DETACH)))


def pivot_root(new: str, old: str) -> None:
    _checked(libc().pivot_root(os.fsencode(new), os.fsencode(old)))


def drop_capabilities() -> None:
    """For good, together with ``no_new_privileges``: not even an exec as root brings them back."""
    if sys.platform == "linux":
        _checked(libc().capset(struct.pack("Ii", _CAPABILITY_VERSION, 0), bytes(24)))


def no_new_privileges() -> None:
    if sys.platform == "linux":
        _prctl(_NO_NEW_PRIVILEGES, 1)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Get this signal when the parent ends. A change of user or capabilities undoes it: call it after that."""
    if sys.platform == "linux":
        _prctl(_PDEATHSIG, number)


def hide_from_debuggers() -> None:
    _prctl(_DUMPABLE, 0)


def show_to_supervisor() -> None:
    """What counts this process's memory may read of it: a change of user, or a hidden parent, took that away."""
    _prctl(_DUMPABLE, 1)


def adopt_orphans() -> None:
    """Descendants whose parent ends become this process's children."""
    if sys.platform == "linux":
        _prctl(_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    _checked(libc().prctl(ctypes.c_int(option), *(ctypes.c_ulong(each) for each in (value, 0, 0, 0))))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result

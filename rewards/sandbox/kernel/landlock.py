"""Landlock (Linux 5.13): which files a process and its children may read, write and run, from now on and for good.

Standard library alone. https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import sys
from collections.abc import Iterable

from rewards.sandbox.kernel.syscalls import call, no_new_privileges

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_PATH_BENEATH, _VERSION = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE = sum(1 << bit for bit in range(4, 13))  # make and remove anything
_MOVE, _TRUNCATE, _DEVICE_IOCTL = 1 << 13, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _DEVICE_IOCTL
_READ = _EXECUTE | _READ_FILE | _READ_FOLDER
_TCP = 1 << 0 | 1 << 1  # bind, connect
_SCOPES = 1 << 0 | 1 << 1  # abstract sockets, signals: only to processes under the same rules
SCOPES_SINCE = 6


def version() -> int:
    """The kernel's Landlock version; 0 where it has none, or has it switched off."""
    if sys.platform != "linux":
        return 0
    try:
        return call(_CREATE, None, 0, _VERSION)
    except OSError:
        return 0


def restrict(
    *, readable: Iterable[str] | None, writable: Iterable[str] = (), execute: bool, network: bool, devices: bool = False
) -> None:
    """Give up all files but these; None: every file may be read. Raises OSError where the kernel has no Landlock.

    execute: what is readable may be run. network: TCP stays, where the kernel could take it. devices: so does ioctl.
    /dev/null may always be written. Signals and abstract sockets reach nobody outside, since version 6.
    """
    found = version()
    writes = _WRITE_FILE | _MAKE | (_MOVE if found >= 2 else 0) | (_TRUNCATE if found >= 3 else 0)
    reads = 0 if readable is None else _READ_FILE | _READ_FOLDER
    runs = 0 if readable is None and execute else _EXECUTE
    handled = writes | reads | runs | (_DEVICE_IOCTL if found >= 5 and not devices else 0)
    scopes = _SCOPES if found >= SCOPES_SINCE else 0
    attributes = struct.pack("QQQ", handled, _TCP if found >= 4 and not network else 0, scopes)
    attributes = attributes[: 24 if found >= SCOPES_SINCE else 16 if found >= 4 else 8]
    rules = call(_CREATE, attributes, len(attributes), 0)
    try:
        for path in readable or ():
            _allow(rules, path, handled & (_READ if execute else _READ & ~_EXECUTE))
        for path in writable:
            _allow(rules, path, handled & (writes | reads | (_EXECUTE if execute else 0)))
        _allow(rules, os.devnull, handled & (_WRITE_FILE | _READ_FILE))
        no_new_privileges()
        call(_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: str, access: int) -> None:
    """Nothing for a path that does not exist."""
    with contextlib.suppress(FileNotFoundError):
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            allowed = access if stat.S_ISDIR(os.fstat(file).st_mode) else access & _OF_FILES
            if allowed:
                call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", allowed, file), 0)
        finally:
            os.close(file)

"""What a Linux process of any user can give up for good: writing files, starting programs, the network.

Landlock (kernel 5.13) for files, a user namespace for the network. Where the kernel lacks one, that one is not given up,
and ``seal`` says so. Standard library alone: the children import this before anything else.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_PATH_BENEATH, _VERSION_FLAG = 1, 1
_EXECUTE, _READ, _TRUNCATE = 1 << 0, (1 << 2) | (1 << 3), 1 << 14
_WRITE_FILE = 1 << 1
_WRITE = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))  # write, remove, and make anything
_NEW_USER, _NEW_NET, _NEW_PID, _NEW_IPC = 0x10000000, 0x40000000, 0x20000000, 0x08000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def seal(write_to: str | None = None, execute: bool = False) -> bool:
    """No file is written or made but beneath ``write_to``; no program is started, unless ``execute``. False: it cannot be."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    if version < 1:
        return False
    handled = _WRITE | (0 if execute else _EXECUTE) | (_TRUNCATE if version >= 3 else 0)
    attributes = struct.pack("Q", handled)
    rules = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return False
    try:
        if write_to is not None:
            folder = os.open(write_to, os.O_PATH | os.O_DIRECTORY)
            libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", handled, folder), 0)
            os.close(folder)
        _allow_null(libc, rules)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return libc.syscall(_RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)


def _allow_null(libc: ctypes.CDLL, rules: int) -> None:
    """What is written to /dev/null is nowhere; without it, even ``import torch`` fails."""
    null = os.open(os.devnull, os.O_PATH)
    libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", _WRITE_FILE, null), 0)
    os.close(null)


def leave_network(processes: bool = False) -> bool:
    """Into a network of its own, which is empty; ``processes``: children also get a process tree that dies whole."""
    if sys.platform != "linux":
        return False
    flags = _NEW_USER | _NEW_NET | _NEW_IPC | (_NEW_PID if processes else 0)
    return ctypes.CDLL(None, use_errno=True).unshare(flags) == 0


def die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

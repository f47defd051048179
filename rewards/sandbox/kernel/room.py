"""A file system of a process's own: what it needs of the machine's, read-only, and a sized folder in memory.

Everything else does not exist there: no other programs' files, no sockets, no /proc. Needs namespaces of one's own.
Standard library alone.
"""

from __future__ import annotations

import os
import site
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewards.sandbox.kernel import syscalls

HOME = "/tmp"  # in a room: where a program may write
_PLACE = "/proc"  # where the room is put together: always there, and nothing that we show lies beneath it
_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/usr/share/zoneinfo",
    "/dev/null", "/dev/urandom",
)  # fmt: skip
_OF_PYTHON = (
    "bin",
    "lib",
    "lib64",
    "libexec",
    "share",
    "pyvenv.cfg",
)  # of its folder, which may be a project's as well
_HOME_BYTES, _HOME_FILES = 32 << 20, 4096


@dataclass(frozen=True, slots=True)
class Layout:
    """binds: real paths that are shown. links: symbolic links on the way to them, path and target."""

    binds: tuple[str, ...]
    links: tuple[tuple[str, str], ...]


def readable(packages: Iterable[str] = ()) -> list[str]:
    """What Python needs in order to run: itself, its libraries, and ``packages`` (folders)."""
    sites = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    store = [each for each in ("/nix/store",) if sys.base_prefix.startswith(each)]  # its libraries are there too
    own = [os.path.join(prefix, part) for prefix in (sys.prefix, sys.base_prefix) for part in _OF_PYTHON]
    paths = [*_SYSTEM, *own, *store, *sites, sys.executable, *packages]
    return [path for path in dict.fromkeys(paths) if os.path.exists(path)]


def layout(paths: Iterable[str]) -> Layout:
    binds: dict[str, None] = {}
    links: dict[str, str] = {}
    for path in paths:
        real = _follow(path, links)
        if real != "/" and os.path.exists(real):
            binds[real] = None
    top = [path for path in sorted(binds) if not _beneath(path, [other for other in binds if other != path])]
    return Layout(tuple(top), tuple(each for each in links.items() if not _beneath(each[0], top)))


def _follow(path: str, links: dict[str, str]) -> str:
    """Where a path really is; the symbolic links on the way go into ``links``. The root for a path that goes in a circle."""
    done, waiting = "/", [part for part in Path(path).parts if part != "/"]
    for _ in range(256):
        if not waiting:
            return done
        part = waiting.pop(0)
        step = os.path.normpath(os.path.join(done, part))
        if not os.path.islink(step):
            done = step
            continue
        target = links[step] = os.readlink(step)
        done = "/" if target.startswith("/") else done
        waiting = [each for each in Path(target).parts if each != "/"] + waiting
    return "/"


def _beneath(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def private_mounts() -> None:
    """What is mounted from now on is seen by this process and its children alone. Raises OSError."""
    syscalls.unshare(syscalls.NEW_MOUNTS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)


def own_processes(*, stay: bool = False) -> int:
    """/proc of this process tree alone, as an open folder; without ``stay`` it has no path. Raises OSError."""
    syscalls.mount("proc", _PLACE, "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV)
    folder = os.open(_PLACE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if not stay:
        syscalls.unmount(_PLACE)
    return folder


def enter(shown: Layout, user: int | None) -> None:
    """Move this process into a new room. user: whose the folder ``HOME`` is; None: this process's."""
    safe = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("room", _PLACE, "tmpfs", safe, "mode=755,size=1m,nr_inodes=4k")
    home = _PLACE + HOME
    os.mkdir(home)
    private_folder(home, _HOME_BYTES, _HOME_FILES, user)
    for path, target in shown.links:
        os.makedirs(_PLACE + os.path.dirname(path), exist_ok=True)
        os.symlink(target, _PLACE + path)
    for path in shown.binds:
        _show(path, _PLACE + path)
    old = _PLACE + "/old"
    os.mkdir(old)
    syscalls.pivot_root(_PLACE, old)
    os.chdir("/")
    syscalls.unmount("/old")
    os.rmdir("/old")
    syscalls.restrict_mount("/", syscalls.READ_ONLY, beneath=False)


def private_folder(path: str, size: int, files: int, user: int | None = None) -> None:
    """An empty folder in memory over ``path``, of at most so many bytes and files."""
    owner = "" if user is None else f",uid={user},gid={user}"
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("home", path, "tmpfs", flags, f"mode=700,size={size},nr_inodes={files}{owner}")


def read_only_everywhere() -> None:
    """No file of the machine's is changed from here on, not even its mode or its times."""
    syscalls.restrict_mount("/", syscalls.READ_ONLY | syscalls.NO_SUID, beneath=True)


def _show(path: str, target: str) -> None:
    folder = stat.S_ISDIR(os.stat(path).st_mode)
    os.makedirs(target if folder else os.path.dirname(target), exist_ok=True)
    if not folder and not os.path.exists(target):
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    syscalls.bind(path, target)
    devices = 0 if path.startswith("/dev/") else syscalls.NO_DEVICES
    syscalls.restrict_mount(target, syscalls.READ_ONLY | syscalls.NO_SUID | devices, beneath=True)

"""The Ray that a run starts for itself: on loopback, behind a token of its own, in a folder of its user's own.

Submitting a job to Ray is running code. Ray listens on all interfaces, and only from 2.59 on it asks for a token unless told
otherwise; and its session folder, with the sockets of its object store, is open to every user of the machine.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl.output.secrets import know

LOOPBACK = "127.0.0.1"
MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
# Ray's switch for machines on which it has no clusters: with it off, a node's address is loopback, and all that Ray and its
# workers listen on is bound there. `_node_ip_address` alone is not enough: Ray looks up another address for a loopback one.
ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
MEETING = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")  # where ranks listen for each other
# Ray lowers its workers' priority by 15: beside one busy process of the user's, they would get a thirtieth of a processor.
NICENESS = "RAY_worker_niceness"
LONGEST_BASE = 40  # of the folder's path: a socket's path may have 107 characters, and Ray's own part takes 65


@contextmanager
def private_ray() -> Iterator[dict[str, Any]]:
    """What ``ray.init(address="local")`` is to be called with, while this process and its children are set to it.

    A mode, token or priority that the user has set is kept.
    """
    folder = private_folder()
    token = folder / f"token-{os.getpid()}-{secrets.token_hex(4)}"
    wanted = {MODE: "token", NICENESS: "0", **dict.fromkeys(MEETING, "lo" if sys.platform == "linux" else "")}
    changed = {ONE_MACHINE: "0", **{name: value for name, value in wanted.items() if value and name not in os.environ}}
    if TOKEN not in os.environ and TOKEN_FILE not in os.environ:
        changed[TOKEN_FILE] = str(token)
        write_private(token, fresh_token())
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        with _one_machine():
            _read_again()
            yield {"_temp_dir": str(folder / "ray"), "_node_ip_address": LOOPBACK}
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        token.unlink(missing_ok=True)
        _read_again()


def private_folder() -> Path:
    """``unigrpo-ray-UID`` in RAY_TMPDIR or the system's folder for temporary files: this user's, and closed to others."""
    base = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(base) > LONGEST_BASE:
        base = "/tmp"
    folder = Path(base) / f"unigrpo-ray-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if ours else Path(tempfile.mkdtemp(prefix="unigrpo-ray-", dir=base))


def write_private(file: Path, text: str) -> None:
    """A new file for its owner alone, from its first moment on. Raises FileExistsError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)


def fresh_token() -> str:
    token = secrets.token_hex(32)
    know(token)
    return token


@contextmanager
def _one_machine() -> Iterator[None]:
    """Ray reads its switch when it is first imported, which may be over."""
    try:
        from ray._private import ray_constants
    except ImportError:
        yield
        return
    before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        if before is not None:
            ray_constants.ENABLE_RAY_CLUSTER = before


def _read_again() -> None:
    """Ray keeps mode and token of this process from the first time that it needs them."""
    with contextlib.suppress(ImportError, AttributeError):
        from ray._raylet import AuthenticationTokenLoader, Config  # pyright: ignore[reportAttributeAccessIssue]

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()

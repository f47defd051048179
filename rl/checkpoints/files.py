"""Files of a run's folder: whole or absent when they are written, the folder's own and bounded when they are read; and what is
moved out of the way of a run that takes another path."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MOST_BYTES = 1 << 26  # of a file that is read whole


def read_inside(file: Path, folder: Path, most: int = MOST_BYTES, *, end: bool = False) -> bytes:
    """A file of a folder that may be somebody else's. end: its last ``most`` bytes, where it has more.

    Raises OSError, whose text has no path in it, for what is no regular file (a pipe would wait for ever, a device has no
    end), leads out of the folder, links resolved, or is larger.
    """
    if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder)):
        raise OSError("a link that leads out of the run's folder")
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as source:
        found = os.fstat(source.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError("not a regular file")
        if found.st_size > most and not end:
            raise OSError(f"larger than {most >> 20} MiB")
        source.seek(max(0, found.st_size - most))
        return source.read(most)


def write_whole(file: Path, text: str) -> Path:
    """Write beside and rename: a reader sees the earlier content or all of the new one. Returns ``file``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_text(text, "utf-8")
    return beside.replace(file)


def new_aside(folder: Path) -> Path:
    """Makes and returns the next of ``folder/set_aside_1``, ``set_aside_2``, ..."""
    number = 1
    while (aside := folder / f"set_aside_{number}").exists():
        number += 1
    aside.mkdir()
    return aside


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

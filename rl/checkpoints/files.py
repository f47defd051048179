"""Files that are whole or absent, and what is moved out of the way of a run that takes another path."""

from __future__ import annotations

import os
from pathlib import Path


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

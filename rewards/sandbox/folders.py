"""Removing a folder that a program filled. Standard library alone."""

from __future__ import annotations

import contextlib
import os
import stat

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(folder: str) -> None:
    """However deep it is and whatever its modes are; what cannot be removed is left. Links are not followed.

    For a folder that nobody uses any more: it is left again through its own ``..``. One is open at a time, by no path.
    """
    with contextlib.suppress(OSError):
        current = os.open(folder, _FOLDER)
        above: list[tuple[str, list[str]]] = []  # the name of each folder on the way, and what remains to do beside it
        names = _emptied(current)
        while names or above:
            if names:
                name = names.pop()
                with contextlib.suppress(OSError):
                    inner = os.open(name, _FOLDER, dir_fd=current)
                    os.close(current)
                    above.append((name, names))
                    current, names = inner, _emptied(inner)
                continue
            outer = os.open("..", _FOLDER, dir_fd=current)
            os.close(current)
            name, names = above.pop()
            current = outer
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=current)
        os.close(current)
        os.rmdir(folder)


def _emptied(folder: int) -> list[str]:
    """Remove the files of an open folder; the names of the folders in it, which may be opened now."""
    folders = []
    with contextlib.suppress(OSError):
        os.chmod(folder, stat.S_IRWXU)
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                    os.chmod(name, stat.S_IRWXU, dir_fd=folder)
                    folders.append(name)
                else:
                    os.unlink(name, dir_fd=folder)
    return folders

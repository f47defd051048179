"""Removing a folder that a program filled. Standard library alone."""

from __future__ import annotations

import contextlib
import os
import stat


def remove(folder: str) -> None:
    """However deep it is and whatever its modes are; what cannot be removed is left. Links are not followed.

    Folders inside are moved up to the top before they are emptied, so that no path grows long.
    """
    moved = 0
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        with contextlib.suppress(OSError):
            os.chmod(current, stat.S_IRWXU)
        with contextlib.suppress(OSError):
            for name in os.listdir(current):
                path = os.path.join(current, name)
                with contextlib.suppress(OSError):
                    if not stat.S_ISDIR(os.lstat(path).st_mode):
                        os.unlink(path)
                    elif current == folder:
                        waiting.append(path)
                    else:
                        moved += 1
                        above = os.path.join(folder, f"{moved}-{os.getpid()}-removed")
                        os.chmod(path, stat.S_IRWXU)  # a folder is moved by those who may write to it
                        os.rename(path, above)
                        waiting.append(above)
        if current != folder:
            with contextlib.suppress(OSError):
                os.rmdir(current)
    with contextlib.suppress(OSError):
        os.rmdir(folder)

"""Whether a file or folder can be written, found out before anything starts. What is made to find out is removed again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def folder_problem(folder: Path) -> str:
    """Why nothing can be written into a folder that is there or has to be made; empty where it can.

    Tried, not worked out: permissions alone do not tell of ``/proc``, a read-only disk or a name that is too long.
    """
    made: list[Path] = []
    try:
        for path in (*reversed(folder.absolute().parents), folder.absolute()):
            if not path.is_dir():
                path.mkdir()
                made.append(path)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte or half a surrogate pair
        return reason(error)
    finally:
        for path in reversed(made):
            path.rmdir()


def file_problem(file: Path) -> str:
    """Why a file cannot be written; empty where it can."""
    try:
        if os.path.lexists(file) and not file.is_file():
            return "it is there already, and is no file"
        fresh = not file.exists()
        file.open("ab").close()
        if fresh:
            file.unlink()
        return ""
    except FileNotFoundError:
        return f"no such folder: {file.parent}"
    except (OSError, ValueError) as error:
        return reason(error)


def reason(error: BaseException) -> str:
    """Example: ``Permission denied``; ``Not a directory: /a/file``."""
    if isinstance(error, OSError) and error.strerror:
        longest = 100
        where = f": {error.filename}" if error.filename and len(str(error.filename)) <= longest else ""
        return f"{error.strerror}{where}"
    return " ".join(str(error).split())

"""Small files of a policy's folder, which may be a stranger's: regular, inside the folder, bounded; and their JSON.

JSON is read as its grammar says (RFC 8259), with what Python's reader lets pass refused: NaN and Infinity, a name that
an object has twice, numbers that are infinite as floats, and nesting that no configuration has.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from rl.errors import PolicyError, first_line

MAX_BYTES = 1 << 24  # of a configuration, an index or a header; a thousand times what released ones have
MAX_DEPTH = 50


def open_regular(file: Path) -> BinaryIO:
    """The file, open for reading; a link is followed. Raises PolicyError for all but a regular file, without opening it:
    a pipe would wait for ever, and a device has no end."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise PolicyError(f"{file}: not a regular file; copy the original there")
        # Not blocking: between the look and the opening it may have become a pipe.
        source = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise _unread(file, error) from error
    if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
        source.close()
        raise PolicyError(f"{file}: not a regular file; copy the original there")
    return source


def read_bytes(file: Path, folder: Path | None = None) -> bytes:
    """At most MAX_BYTES. folder: where it must lie, links resolved; None: the folder that it is in. Raises PolicyError."""
    require_inside(file, file.parent if folder is None else folder, MAX_BYTES)
    with open_regular(file) as source:
        try:
            content = source.read(MAX_BYTES + 1)
        except OSError as error:
            raise _unread(file, error) from error
    if len(content) > MAX_BYTES:  # a file of the kernel's own, which has no size
        raise _too_large(file, MAX_BYTES)
    return content


def require_inside(file: Path, folder: Path, most: int) -> None:
    """Raises PolicyError where a file leads out of a folder, or has more bytes."""
    if not lies_inside(file, folder):
        raise PolicyError(f"{file}: a link that leads out of {folder}; copy the file itself there")
    try:
        size = os.stat(file).st_size
    except OSError as error:
        raise _unread(file, error) from error
    if size > most:
        raise _too_large(file, most)


def _too_large(file: Path, most: int) -> PolicyError:
    return PolicyError(f"{file}: too large; allowed: {most >> 20} MiB; copy the original")


def read_text(file: Path, folder: Path | None = None) -> str:
    """UTF-8. Raises PolicyError."""
    try:
        return read_bytes(file, folder).decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError(f"{file}: not UTF-8: {first_line(error)}; save it as UTF-8") from error


def read_json(file: Path) -> Any:
    """Raises PolicyError where it cannot be read, or is no JSON."""
    try:
        return parse_json(read_bytes(file))
    except PolicyError:
        raise
    except ValueError as error:
        raise PolicyError(f"{file}: not JSON: {first_line(error)}") from error


def parse_json(data: bytes) -> Any:
    """Raises ValueError: one line."""
    try:
        content = json.loads(
            data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite
        )
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    _check_depth(content)
    return content


def lies_inside(file: Path, folder: Path) -> bool:
    """Whether a path, links resolved, is below the folder; or where the folder is a snapshot in a Hugging Face cache,
    among the cache's blobs of the same repository, to which its files are links."""
    try:
        found, root = file.resolve(), folder.resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links, or a name that no file can have
        return False
    if found.is_relative_to(root):
        return True
    snapshot = next((each for each in (root, *root.parents) if each.parent.name == "snapshots"), None)
    return snapshot is not None and found.is_relative_to(snapshot.parent.parent / "blobs")


def shown(value: object, limit: int = 120) -> str:
    """On one line, cut to ``limit`` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


_TOO_DEEP = f"nested too deeply; allowed: {MAX_DEPTH} levels"


def _unread(file: Path, error: OSError) -> PolicyError:
    return PolicyError(f"{file}: cannot be read: {error.strerror}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice[:80]!r} stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value


def _check_depth(content: Any) -> None:
    """Level by level: a function that calls itself would end where the nesting does."""
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, list | Mapping)
            for inner in (each.values() if isinstance(each, Mapping) else each)
            if isinstance(inner, list | Mapping)
        ]
        if not level:
            return
    raise ValueError(_TOO_DEEP)

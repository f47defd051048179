"""``--requirements FILE``: what Ray installs for a job, from a file as pip reads it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from rl.errors import ConfigError

_NESTED = re.compile(r"(?:-r|--requirement)(?:\s*=\s*|\s*)(.+)")
_LOCAL = re.compile(
    r"""(-e|--editable|-c|--constraint)\b    # a checkout; limits in another file
    | (-f|--find-links)[ =]*[./]           # a folder of packages
    | \.{1,2}(/|$) | / | (.*@\s*)?file:     # a path
    | .*\.(whl|tar\.gz|zip)$               # a file
    """,
    re.VERBOSE,
)


def packages(requirements: Path | None) -> dict[str, object]:
    """The ``pip`` of a runtime environment: Ray makes a virtual environment of these on every node, over the one that it
    runs in. Files that the file names with ``-r`` are read here. Raises ConfigError."""
    if requirements is None:
        return {}
    lines = list(_lines(Path(os.path.normpath(requirements)), ()))
    if not lines:
        raise ConfigError(f"--requirements {requirements}: names no package")
    return {"pip": {"packages": lines}}


def _lines(file: Path, inside: tuple[Path, ...]) -> Iterator[str]:
    if file in inside:
        return  # they name each other
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise ConfigError(f"--requirements {file}: {why}") from error
    for number, line in enumerate(text.replace("\\\n", "").splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if nested := _NESTED.fullmatch(line):
            yield from _lines(Path(os.path.normpath(file.parent / nested[1])), (*inside, file))
        elif _LOCAL.match(line) and "://" not in line.replace("file://", ""):
            raise ConfigError(
                f"--requirements {file}: line {number}: {line}: a file of this machine, which the nodes lack; name a package "
                "that pip can fetch there"
            )
        elif line:
            yield line

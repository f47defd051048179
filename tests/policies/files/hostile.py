"""What a stranger's folder is asked, and what it may answer: one line of the project's own, and little memory."""

from __future__ import annotations

import json
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from policies.files.folders import find_policy
from rl.errors import UniGRPOError

LONGEST = 1500  # characters of a message, with a path of pytest's in it
ROOM = 700 << 20  # bytes by which one case may grow the process


def tiny(folder: Path) -> Path:
    """A copy of the shipped policy, which is taken for a stranger's."""
    shutil.copytree(find_policy("tiny"), folder / "policy")
    return folder / "policy"


def edit(folder: Path, name: str = "config.json", /, **changes: Any) -> None:
    """Changes of a JSON object in a file; one that is absent begins empty."""
    file = folder / name
    content = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**content, **changes}))


def answer(call: Callable[[], object]) -> str | None:
    """None: it was taken. Else its one line. All else than these two fails."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        call()
        said = None
    except UniGRPOError as error:
        said = str(error)
        assert said and "\n" not in said and "\r" not in said and len(said) < LONGEST, said[:300]
        said.encode("utf-8")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < ROOM, f"{grown >> 20} MiB more"
    return said


def refused(call: Callable[[], object], *parts: str) -> str:
    said = answer(call)
    assert said is not None, "it was taken"
    for part in parts:
        assert part in said, said
    return said


def safetensors(file: Path, header: Any, body: int | bytes = 0) -> None:
    """A file with this header, as JSON or as bytes. body: how many bytes follow, or which; many take no room on the disk."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + (body if isinstance(body, bytes) else b""))
        if isinstance(body, int):
            out.truncate(8 + len(text) + body)


def tensor(begin: int, end: int, shape: list[Any] | None = None, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}

"""What makes a folder a whole checkpoint: a manifest with size and SHA-256 of every file in it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from rl.checkpoints.files import sync

MANIFEST = "manifest.json"
STATE = "state.json"
FORMAT = 1


def seal(folder: Path, step: int) -> None:
    """Sync every file of the folder, then write the manifest that makes it a whole checkpoint."""
    files = {}
    for path in _files(folder):
        sync(path)
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"format": FORMAT, "step": step, "files": files}, indent=1))
    sync(manifest)
    for directory in {path.parent for path in _files(folder)}:
        sync(directory)


def damage(folder: Path, hashes: bool = True) -> str:
    """Why the folder is not a whole checkpoint, in a few words; empty where it is one.

    hashes: read every file; False looks at names and sizes alone.
    """
    if not os.path.isdir(folder):  # False also for a name that is too long to ask about
        return "no such folder"
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        listed = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
        written_as = manifest["format"]
    except OSError:
        return f"{MANIFEST} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    if written_as != FORMAT:
        return f"{MANIFEST} has format {written_as}, expected {FORMAT}"
    if STATE not in listed:
        return f"{STATE} is not listed in {MANIFEST}"
    present = {path.relative_to(folder).as_posix() for path in _files(folder)} - {MANIFEST}
    if unlisted := present - listed.keys():
        return f"{min(unlisted)} is not listed in {MANIFEST}"
    for name, (size, digest) in sorted(listed.items()):
        if name not in present:
            return f"{name} is missing"
        if (folder / name).stat().st_size != size:
            return f"{name} has {(folder / name).stat().st_size} bytes, expected {size}"
        if hashes and _sha256(folder / name) != digest:
            return f"{name} does not match its SHA-256"
    return ""


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

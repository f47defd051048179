"""Checkpoints that are whole or absent.

    checkpoints/global_step_40/    what ``Learner.save`` wrote, state.json, and manifest.json
    checkpoints/set_aside_1/       checkpoints of a future that this run left (``resume_mode`` disable or path)

A checkpoint is written beside its final place, every file is synced to disk, then the manifest (size and SHA-256 of
each file), and only then the folder is renamed. So a folder called ``global_step_N`` was complete when it got its name,
and the manifest shows whether it still is. Its hashes are checked before anything in it is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from rl.config import Config
from rl.errors import CheckpointError
from rl.protocols import Learner

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
STATE = "state.json"
FORMAT = 1
_NAME = re.compile(r"global_step_(\d+)")
# Settings that do not change what a step computes.
_WITHOUT_EFFECT = frozenset(
    "name output_dir steps cluster tracking val_before_train val_after_train test_freq save_freq keep_checkpoints "
    "resume_mode resume_path".split()
)


class FolderCheckpoints:
    """Implements ``rl.protocols.Checkpoints`` in ``run_dir/checkpoints``.

    skipped: the checkpoints that ``resume`` passed over, and why.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = config.run_dir / "checkpoints"
        self.skipped: list[tuple[Path, str]] = []
        self._newest: Path | None = None

    def resume(self, learner: Learner) -> Mapping[str, Any]:
        """Load the checkpoint that ``resume_mode`` asks for into the learner; its state, or {} for a fresh start.

        Raises CheckpointError where ``resume_path`` is not whole.
        """
        _remove_unfinished(self.folder)
        source = self._find()
        if source is None:
            self._set_aside(after=-1)
            return {}
        state = json.loads((source / STATE).read_text())
        self._set_aside(after=state["step"])
        self._report_changes(source, state.get("config", {}))
        learner.load(source)
        self._newest = source
        logger.info("resumed from %s", source)
        return state

    def go_back(self, learner: Learner) -> Mapping[str, Any]:
        """What was saved last, or what the run began with; {} where that was a fresh start. Raises CheckpointError."""
        if self._newest is None:
            return {}
        if problem := damage(self._newest):
            raise CheckpointError(
                f"{self._newest}: {problem}; start the run again: it takes the newest whole checkpoint"
            )
        learner.load(self._newest)
        return json.loads((self._newest / STATE).read_text())

    def save(self, step: int, learner: Learner, state: Mapping[str, Any]) -> Path:
        """Write ``global_step_{step}`` and drop all but the newest ``keep_checkpoints``. Raises CheckpointError."""
        final = self.folder / f"global_step_{step}"
        unfinished = self.folder / f".unfinished_{final.name}"
        if self._newest is not None and self._newest.absolute() == final.absolute():
            return final  # saved when it was due, and now again because the run is told to stop
        try:
            self._write(unfinished, step, learner, state)
            self._set_aside(after=step - 1)  # one of that name can only be damaged, or of a future that was lost
            unfinished.rename(final)
            _sync(self.folder)
        except (OSError, SafetensorError, CheckpointError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise CheckpointError(f"{final}: could not be written: {error}") from error
        self._newest = final
        self._prune()
        return final

    def _write(self, folder: Path, step: int, learner: Learner, state: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        learner.save(folder)
        whole_state = {**state, "step": step, "config": dataclasses.asdict(self.config)}
        (folder / STATE).write_text(json.dumps(whole_state, indent=1))
        seal(folder, step)

    def _find(self) -> Path | None:
        if self.config.resume_mode == "disable":
            return None
        if self.config.resume_mode == "path":
            folder = Path(str(self.config.resume_path))
            problem = damage(folder)
            if problem:
                raise CheckpointError(
                    f"resume_path={folder}: {problem}; give a whole global_step_N folder, or resume_mode=auto"
                )
            return folder
        for step, folder in sorted(_steps(self.folder), reverse=True):
            problem = damage(folder)
            if not problem:
                return folder
            self.skipped.append((folder, problem))
            logger.warning("checkpoint of step %d skipped: %s: %s", step, folder, problem)
        return None

    def _set_aside(self, after: int) -> None:
        """Checkpoints beyond the starting point belong to another future: a later resume must not find them."""
        future = [folder for step, folder in _steps(self.folder) if step > after]
        if not future:
            return
        number = 1
        while (aside := self.folder / f"set_aside_{number}").exists():
            number += 1
        aside.mkdir()
        for folder in future:
            folder.rename(aside / folder.name)
        logger.warning("%d checkpoint(s) that this run does not go on from moved to %s", len(future), aside)

    def _prune(self) -> None:
        for _, folder in sorted(_steps(self.folder))[: -self.config.keep_checkpoints]:
            (folder / MANIFEST).unlink(missing_ok=True)  # a half-removed checkpoint must not look whole
            shutil.rmtree(folder, ignore_errors=True)

    def _report_changes(self, source: Path, saved: Mapping[str, Any]) -> None:
        """A run may go on under other settings, but then it is not the one that would have gone on by itself."""
        current = dict(_leaves(json.loads(json.dumps(dataclasses.asdict(self.config)))))
        before = dict(_leaves(saved))
        changed = [key for key in sorted(current) if before.get(key, current[key]) != current[key]]
        changed = [key for key in changed if key.split(".")[0] not in _WITHOUT_EFFECT]
        if changed:
            logger.warning("%s was written with other settings of: %s", source, ", ".join(changed))


def seal(folder: Path, step: int) -> None:
    """Sync every file of the folder, then write the manifest that makes it a whole checkpoint."""
    files = {}
    for path in _files(folder):
        _sync(path)
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"format": FORMAT, "step": step, "files": files}, indent=1))
    _sync(manifest)
    for directory in {path.parent for path in _files(folder)}:
        _sync(directory)


def damage(folder: Path) -> str:
    """Why the folder is not a whole checkpoint, in a few words; empty where it is one."""
    if not folder.is_dir():
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
        if _sha256(folder / name) != digest:
            return f"{name} does not match its SHA-256"
    return ""


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _steps(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    found = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir()]
    return [(int(match[1]), path) for match, path in found if match]


def _remove_unfinished(folder: Path) -> None:
    for path in folder.glob(".unfinished_*"):
        shutil.rmtree(path, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

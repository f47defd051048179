"""Checkpoints that are whole or absent.

    checkpoints/global_step_40/    what ``Learner.save`` wrote, state.json, and manifest.json
    checkpoints/set_aside_1/       checkpoints of a future that this run left (``resume_mode`` disable or path)
    checkpoints/ratings.json       held-out scores by step (``rl.checkpoints.ratings``)

A checkpoint is written beside its final place, every file is synced to disk, then the manifest (size and SHA-256 of
each file), and only then the folder is renamed. So a folder called ``global_step_N`` was complete when it got its name,
and the manifest shows whether it still is. Its hashes are checked before anything in it is read.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.checkpoints.files import new_aside, sync
from rl.checkpoints.manifest import MANIFEST, STATE, damage, seal
from rl.checkpoints.ratings import Ratings
from rl.config import Config
from rl.config.flat import flatten
from rl.config.load import free_mappings
from rl.errors import CheckpointError
from rl.protocols import Restorable

logger = logging.getLogger(__name__)

_UNFINISHED = ".unfinished_"
_NAME = re.compile(r"global_step_(\d+)")
# Settings that do not change what a step computes.
_WITHOUT_EFFECT = frozenset(
    "name output_dir steps cluster tracking health val_before_train val_after_train test_freq save_freq save_minutes "
    "keep_checkpoints resume_mode resume_path best_metric best_mode keep_best".split()
)


class FolderCheckpoints:
    """Implements ``rl.protocols.Checkpoints`` in ``run_dir/checkpoints``.

    files: digests of files that the run depends on, by name, which are not in its settings: kept with each checkpoint.
    skipped: the checkpoints that ``resume`` passed over, and why.
    """

    def __init__(self, config: Config, files: Mapping[str, str] | None = None) -> None:
        self.config, self.files = config, dict(files or {})
        self.folder = config.run_dir / "checkpoints"
        self.ratings = Ratings(self.folder)
        self.skipped: list[tuple[Path, str]] = []
        self._newest: Path | None = None

    def resume(self, learner: Restorable) -> Mapping[str, Any]:
        """Load the checkpoint that ``resume_mode`` asks for into the learner; its state, or {} for a fresh start.

        Raises CheckpointError where ``resume_path`` is not whole.
        """
        _remove_unfinished(self.folder)
        source = self._find()
        if source is None:
            self._forget(after=-1)
            return {}
        state = json.loads((source / STATE).read_text())
        self._forget(after=state["step"])
        self._report_changes(source, state.get("config", {}))
        self._report_files(source, state.get("files") or {})
        learner.load(source)
        self._newest = source
        logger.info("resumed from %s", source)
        return state

    def go_back(self, learner: Restorable) -> Mapping[str, Any]:
        """What was saved last, or what the run began with; {} where that was a fresh start. Raises CheckpointError."""
        if self._newest is None:
            self.ratings.drop_after(0)
            return {}
        if problem := damage(self._newest):
            raise CheckpointError(
                f"{self._newest}: {problem}; start the run again: it takes the newest whole checkpoint"
            )
        learner.load(self._newest)
        state = json.loads((self._newest / STATE).read_text())
        self.ratings.drop_after(state["step"])
        return state

    def save(self, step: int, learner: Restorable, state: Mapping[str, Any]) -> Path:
        """Write ``global_step_{step}``; drop all but the newest ``keep_checkpoints`` and the best ``keep_best``.

        Raises CheckpointError where it cannot be written: the disk is full, or not ours to write to.
        """
        final = self.folder / f"global_step_{step}"
        unfinished = self.folder / f"{_UNFINISHED}{final.name}"
        if self._newest is not None and self._newest.absolute() == final.absolute():
            return final  # saved when it was due, and now again because the run is told to stop
        try:
            self._write(unfinished, step, learner, state)
            self._set_aside(after=step - 1)  # one of that name can only be damaged, or of a future that was lost
            unfinished.rename(final)
            sync(self.folder)
        except (OSError, CheckpointError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise CheckpointError(f"{final}: cannot be saved: {error}; {self._way_on()}") from error
        self._newest = final
        self._prune()
        return final

    def rate(self, step: int, metrics: Mapping[str, float]) -> None:
        """Held-out metrics of the weights after ``step``, by which ``best_metric`` chooses."""
        metric = self.config.best_metric
        if metric is not None and metric not in metrics:
            known = ", ".join(sorted(metrics))
            logger.warning("best_metric=%s: not measured at step %d; there are: %s", metric, step, known)
        try:
            self.ratings.add(step, metrics)
        except OSError as error:
            logger.warning("%s: cannot be written: %s", self.ratings.file, error)

    def rated(self, step: int) -> bool:
        return step in self.ratings.read()

    def best(self) -> list[int]:
        """The steps that ``best_metric`` keeps, the best first."""
        if self.config.best_metric is None:
            return []
        steps = [step for step, _ in steps_in(self.folder)]
        return self.ratings.best(steps, self.config.best_metric, self.config.best_mode, self.config.keep_best)

    def _way_on(self) -> str:
        """What is left to go on from, in a few words."""
        whole = max((step for step, _ in steps_in(self.folder)), default=None)
        found = "there is no earlier one" if whole is None else f"global_step_{whole} is still there"
        return f"{found}; make room, and the same command goes on"

    def _write(self, folder: Path, step: int, learner: Restorable, state: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        learner.save(folder)
        whole_state = {**state, "step": step, "config": dataclasses.asdict(self.config), "files": self.files}
        (folder / STATE).write_text(json.dumps(whole_state, indent=1))
        seal(folder, step)

    def _find(self) -> Path | None:
        if self.config.resume_mode == "disable":
            return None
        if self.config.resume_mode == "path":
            return whole_path(self.config)
        found, self.skipped = newest_whole(self.folder)
        for folder, problem in self.skipped:
            logger.warning("checkpoint of step %d skipped: %s: %s", step_of(folder), folder, problem)
        if found is not None and self.skipped:
            logger.warning("going on from %s, the newest whole one", found)
        return found

    def _forget(self, after: int) -> None:
        """What lies beyond the starting point belongs to another future: a later resume must not find it."""
        self.ratings.drop_after(after)
        self._set_aside(after)

    def _set_aside(self, after: int) -> None:
        future = [folder for step, folder in steps_in(self.folder) if step > after]
        if not future:
            return
        aside = new_aside(self.folder)
        for folder in future:
            folder.rename(aside / folder.name)
        logger.warning("%d checkpoint(s) that this run does not go on from moved to %s", len(future), aside)

    def _prune(self) -> None:
        best = self.best()
        for step, folder in sorted(steps_in(self.folder))[: -self.config.keep_checkpoints]:
            if step in best:
                continue
            (folder / MANIFEST).unlink(missing_ok=True)  # a half-removed checkpoint must not look whole
            shutil.rmtree(folder, ignore_errors=True)

    def _report_changes(self, source: Path, saved: Mapping[str, Any]) -> None:
        """A run may go on under other settings, but then it is not the one that would have gone on by itself."""
        current = dict(flatten(json.loads(json.dumps(dataclasses.asdict(self.config)))))
        before = dict(flatten(saved))
        # A name of a newer version is not there either; a reward that is not there was not asked for.
        free = {key for key in {*current, *before} if any(key.startswith(f"{name}.") for name in free_mappings())}
        known = [key for key in current if key in before or key in free] + [key for key in before if key in free]
        changed = [key for key in sorted(set(known)) if before.get(key) != current.get(key)]
        changed = [key for key in changed if key.split(".")[0] not in _WITHOUT_EFFECT]
        if changed:
            logger.warning("%s was written with other settings of: %s", source, ", ".join(changed))

    def _report_files(self, source: Path, saved: Mapping[str, str]) -> None:
        """A file of the user's may be mended on the way, but the steps before and after it are then of two runs."""
        changed = [name for name in sorted({*saved, *self.files}) if saved.get(name) != self.files.get(name)]
        if saved and changed:
            logger.warning("changed since %s was saved, and used as now from here on: %s", source, ", ".join(changed))


def whole_path(config: Config, hashes: bool = True) -> Path:
    """``resume_path``. Raises CheckpointError where it is not a whole checkpoint."""
    folder = Path(str(config.resume_path))
    if problem := damage(folder, hashes):
        raise CheckpointError(
            f"resume_path={folder}: {problem}; give a whole global_step_N folder, or resume_mode=auto"
        )
    return folder


def newest_whole(folder: Path, hashes: bool = True) -> tuple[Path | None, list[tuple[Path, str]]]:
    """The newest whole checkpoint in a folder of them, and those after it that are not: (which, why). hashes: as for
    ``damage``."""
    skipped: list[tuple[Path, str]] = []
    for _, path in sorted(steps_in(folder), reverse=True):
        problem = damage(path, hashes)
        if not problem:
            return path, skipped
        skipped.append((path, problem))
    return None, skipped


def steps_in(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of all that are called ``global_step_N``, whole or not."""
    if not folder.is_dir():
        return []
    return [(step_of(path), path) for path in folder.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)]


def step_of(checkpoint: Path) -> int:
    """N of ``global_step_N``; -1 for another name."""
    match = _NAME.fullmatch(checkpoint.name)
    return int(match[1]) if match else -1


def _remove_unfinished(folder: Path) -> None:
    for path in folder.glob(f"{_UNFINISHED}*"):
        name = path.name.removeprefix(_UNFINISHED)
        logger.warning("%s was not saved to its end: the process was ended while it wrote; its files are removed", name)
        shutil.rmtree(path, ignore_errors=True)

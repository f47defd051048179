"""What a learner needs to go on bit for bit: what is trained, the optimizer's state, the reference, and two counters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError

from rl.errors import CheckpointError, first_line
from rl.learner.engine import Engine
from rl.learner.reference import BaseReference, Reference
from rl.learner.trained import Trained

STATE_FILE = "learner.json"


@dataclass(frozen=True, slots=True)
class Counters:
    """Training steps that are done, and how many updates in a row were skipped."""

    steps: int
    skipped_in_row: int


@dataclass(frozen=True, slots=True)
class SavedParts:
    trained: Trained
    engine: Engine
    reference: Reference | BaseReference | None


def save_state(folder: Path, parts: SavedParts, counters: Counters) -> None:
    """A collective: every rank calls it. Raises CheckpointError on a rank that cannot write its files.

    An engine may gather its state from all ranks to save it. So where rank 0 fails before that, no rank begins.
    """
    failed: CheckpointError | None = None
    with parts.engine.whole():
        if parts.engine.rank == 0:
            failed = _written(lambda: _save_once(folder, parts, counters))
    if parts.engine.all_reduce_sum([float(failed is not None)])[0] == 0:
        failed = _written(lambda: parts.engine.save(folder))
    if failed is not None:
        raise failed


def _save_once(folder: Path, parts: SavedParts, counters: Counters) -> None:
    """What one rank writes for all."""
    parts.trained.save(folder)
    if parts.reference is not None:
        parts.reference.save(folder)
    (folder / STATE_FILE).write_text(json.dumps(asdict(counters)))


def _written(write: Callable[[], None]) -> CheckpointError | None:
    """None, or why the files cannot be written."""
    try:
        write()
    except (OSError, SafetensorError) as error:
        failed = CheckpointError(first_line(error))
        failed.__cause__ = error
        return failed
    return None


def load_state(folder: Path, parts: SavedParts) -> Counters:
    """Restores what ``save_state`` wrote. Raises CheckpointError or PolicyError."""
    with parts.engine.whole(change=True):
        parts.trained.load(folder)
    if parts.reference is not None:
        parts.reference.load(folder)
    try:
        state = json.loads((folder / STATE_FILE).read_text())
        counters = Counters(int(state["steps"]), int(state["skipped_in_row"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / STATE_FILE}: cannot be read: {error}") from error
    parts.engine.load(folder)
    return counters

"""TensorBoard beside MLflow: ``tracking.also=[tensorboard]``, then ``tensorboard --logdir runs``. An example of a tracker.

It needs the extra: ``pip install unigrpo[tensorboard]``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rl.errors import ConfigError
from rl.tracking.contact_sheet import sheet
from rl.tracking.samples import drawings, text_rows
from rl.types import Group

try:
    from torch.utils.tensorboard.writer import SummaryWriter
except ImportError as error:
    raise ConfigError(
        "tracking.also=[tensorboard]: the package tensorboard is not installed; install it (pip install "
        "'unigrpo[tensorboard]'), or leave it out"
    ) from error

FOLDER = "tensorboard"


class TensorBoardTracker:
    """Implements ``rl.protocols.Tracker``: scalars, a page of texts, sheets of drawings, in the run's folder.

    A resumed run's steps overrule those of the process before it, and a run that starts over overrules all: TensorBoard drops
    what lies beyond the first of them.

    keep_until: see ``rl.tracking.further``
    """

    def __init__(self, run_dir: Path, keep_until: float) -> None:
        self._folder, self._keeps = run_dir / FOLDER, keep_until >= 0
        self._writer: SummaryWriter | None = None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        writer = self._at(step)
        for name, value in metrics.items():
            if math.isfinite(value):
                writer.add_scalar(name, value, step)
        writer.flush()

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        writer = self._at(step)
        if rows := text_rows(groups):
            lines = [" | ".join(f"{key}: {value}" for key, value in row.items()) for row in rows]
            writer.add_text(f"samples/{name}", "\n\n".join(f"    {line}" for line in lines), step)
        if drawn := drawings(groups):
            writer.add_image(f"drawings/{name}", np.asarray(sheet(drawn)), step, dataformats="HWC")

    def phase(self, text: str) -> None:
        """Phases are for the person in front of the run."""

    def tag(self, name: str, value: str) -> None:
        self._at(None).add_text(f"tags/{name}", value)

    def close(self, status: str) -> None:
        if self._writer is not None:
            self._writer.close()

    def _at(self, step: int | None) -> SummaryWriter:
        """The writer, which is made at the first step: an earlier process's points from there on are dropped."""
        if self._writer is None:
            self._writer = SummaryWriter(str(self._folder), purge_step=step if self._keeps else 0)
        return self._writer

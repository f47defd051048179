"""Held-out scores of checkpoints, beside them, so that the best can be kept and found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from rl.checkpoints.files import write_whole

FILE = "ratings.json"


class Ratings:
    """``ratings.json`` in a folder of checkpoints: ``{"40": {"val/text/score": 0.7}}``. A damaged file counts as empty:
    the checkpoints are what matters."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE

    def read(self) -> dict[int, dict[str, float]]:
        try:
            content = json.loads(self.file.read_text("utf-8"))
            return {int(step): {name: float(value) for name, value in of.items()} for step, of in content.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Finite values alone."""
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        self._write({**self.read(), step: finite})

    def drop_after(self, step: int) -> None:
        """Forget what was measured on a future that the run left."""
        found = self.read()
        kept = {key: value for key, value in found.items() if key <= step}
        if len(kept) != len(found):
            self._write(kept)

    def drop(self, step: int) -> None:
        """Forget what was measured at a step, which is to be measured again."""
        found = self.read()
        if found.pop(step, None) is not None:
            self._write(found)

    def best(self, steps: Iterable[int], metric: str, mode: str, count: int) -> list[int]:
        """The ``count`` best of those steps, the best first; of equals the later. Steps without the metric are none."""
        found, sign = self.read(), 1.0 if mode == "max" else -1.0
        rated = [step for step in steps if metric in found.get(step, {})]
        return sorted(rated, key=lambda step: (sign * found[step][metric], step), reverse=True)[:count]

    def _write(self, content: Mapping[int, Mapping[str, float]]) -> None:
        write_whole(self.file, json.dumps({str(step): of for step, of in sorted(content.items())}, indent=1))

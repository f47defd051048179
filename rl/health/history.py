"""The metrics that health rules read, as far as a run has come."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping


class History:
    """Values by metric, in the order of steps. It grows; whoever reads it sees what was logged so far.

    reads: the names that are kept; ``*`` stands for one part of a name: ``val/*/score``.
    """

    def __init__(self, reads: Iterable[str]) -> None:
        self._patterns = {name: re.compile(re.escape(name).replace(r"\*", "([^/]+)")) for name in reads}
        self._known: dict[str, bool] = {}
        self._found: dict[str, dict[str, str]] = {name: {} for name in self._patterns}
        self._steps: dict[str, list[int]] = {}
        self._values: dict[str, list[float]] = {}

    def kept(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Those of the metrics that some rule reads, and that are numbers."""
        return {name: value for name, value in metrics.items() if self._is_read(name) and math.isfinite(value)}

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """What ``kept`` returned."""
        for name, value in metrics.items():
            self._steps.setdefault(name, []).append(step)
            self._values.setdefault(name, []).append(value)

    def last(self, name: str, count: int) -> list[float]:
        """The newest values, the oldest of them first; fewer where there are no more."""
        return self._values.get(name, [])[-count:]

    def first(self, name: str, count: int) -> list[float]:
        return self._values.get(name, [])[:count]

    def count(self, name: str) -> int:
        return len(self._values.get(name, ()))

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values; not to be changed."""
        return self._steps.get(name, []), self._values.get(name, [])

    def names(self, pattern: str) -> Mapping[str, str]:
        """What stood for ``*`` -> the metric's name. Example: ``{"text": "val/text/score"}`` for ``val/*/score``."""
        return self._found.get(pattern, {})

    def _is_read(self, name: str) -> bool:
        if name not in self._known:
            self._known[name] = False
            for pattern, regex in self._patterns.items():
                if found := regex.fullmatch(name):
                    self._known[name] = True
                    self._found[pattern]["/".join(found.groups())] = name
        return self._known[name]

"""An endless, resumable stream of training prompts, mixed from weighted sources."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rl.config import SourceConfig
from rl.data.rows import load_rows
from rl.errors import DataError
from rl.seeds import derive_seed, shuffled
from rl.types import Prompt


class PromptStream:
    """Every batch holds each source in proportion to its weight; what rounding leaves over is carried to later batches.

    Each source is shuffled anew in every epoch of its own. The stream is a pure function of sources, rows and seed, and
    ``state`` is a small JSON mapping from which another stream of the same three goes on.

    rows   the sources' rows where they are loaded already; else they are loaded here (DataError, ConfigError)
    """

    def __init__(
        self, sources: Sequence[SourceConfig], seed: int, rows: Sequence[Sequence[Prompt]] | None = None
    ) -> None:
        if not sources:
            raise DataError("data.train: no sources; give at least one, e.g. [{source: sudoku4x4}]")
        if rows is None:
            rows = [load_rows(source) for source in sources]
        if len(rows) != len(sources) or not all(rows):
            raise DataError(f"data.train: {len(sources)} sources need as many lists of rows, none of them empty")
        self._rows = rows
        self._seed = seed
        total = math.fsum(source.weight for source in sources)
        self._shares = [source.weight / total for source in sources]
        self._credits = [0.0] * len(rows)
        self._drawn = [0] * len(rows)  # rows taken so far; its quotient by the source's size is the epoch
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def next(self, n: int) -> list[Prompt]:
        """The next n prompts, source by source. A prompt comes twice in a batch only where an epoch ends inside it."""
        return [self._take(source) for source, count in enumerate(self._allot(n)) for _ in range(count)]

    def state(self) -> dict[str, Any]:
        """Where the stream is: ``{"seed", "sizes", "drawn", "credits"}``, plain JSON."""
        return {
            "seed": self._seed,
            "sizes": [len(rows) for rows in self._rows],
            "drawn": list(self._drawn),
            "credits": list(self._credits),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. Raises DataError where it belongs to other sources or to another seed."""
        for name, mine in self.state().items():
            theirs = state.get(name)
            if name in ("seed", "sizes") and theirs != mine:
                raise DataError(f"data.train: the saved position has {name}={theirs}, this run has {name}={mine}")
            if name in ("drawn", "credits") and (not isinstance(theirs, list) or len(theirs) != len(mine)):
                raise DataError(f"data.train: the saved position has {name}={theirs!r}, expected {len(mine)} numbers")
        self._drawn = [int(count) for count in state["drawn"]]
        self._credits = [float(credit) for credit in state["credits"]]

    def _allot(self, n: int) -> list[int]:
        """How many of n prompts each source gives: whole credits first, then the largest remainders."""
        self._credits = [credit + n * share for credit, share in zip(self._credits, self._shares, strict=True)]
        counts = [max(0, math.floor(credit + 1e-9)) for credit in self._credits]
        by_remainder = sorted(range(len(counts)), key=lambda source: (counts[source] - self._credits[source], source))
        for source in by_remainder[: max(0, n - sum(counts))]:
            counts[source] += 1
        for source in reversed(by_remainder):
            counts[source] -= min(counts[source], max(0, sum(counts) - n))
        self._credits = [credit - count for credit, count in zip(self._credits, counts, strict=True)]
        return counts

    def _take(self, source: int) -> Prompt:
        epoch, place = divmod(self._drawn[source], len(self._rows[source]))
        if self._orders.get(source, (-1,))[0] != epoch:
            self._orders[source] = (epoch, self._order(source, epoch))
        self._drawn[source] += 1
        return self._rows[source][self._orders[source][1][place]]

    def _order(self, source: int, epoch: int) -> np.ndarray:
        """A permutation of the source's rows."""
        bits = np.random.Philox(key=derive_seed(self._seed, "data", source, epoch))
        return shuffled(bits, len(self._rows[source]))

"""What a row gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of the device: by ``unigrpo plan``'s arithmetic and by part, and the peak; None without a GPU."""

    planned: Mapping[str, float]
    peak: int | None

    def as_json(self) -> dict[str, Any]:
        planned = sum(self.planned.values())
        share = None if self.peak is None else self.peak / planned
        return {"planned": dict(self.planned), "planned_sum": planned, "peak": self.peak, "peak_of_plan": share}


@dataclass(frozen=True, slots=True)
class Found:
    """measured: the name of a result -> seconds (or a rate), the names that ``predicted`` has. more: what has no prediction.
    failed: a part of the row that could not be measured -> why."""

    measured: Mapping[str, float]
    more: Mapping[str, Any] = field(default_factory=dict)
    memory: Mapping[str, Memory] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "measured": dict(self.measured),
            "more": dict(self.more),
            "memory": {name: each.as_json() for name, each in self.memory.items()},
            "failed": dict(self.failed),
        }

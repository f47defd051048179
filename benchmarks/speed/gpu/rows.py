"""The rows in the order in which they are measured, and what all of them are given and give back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.speed.gpu import attention, graphs, learning, profiled, sampling
from benchmarks.speed.gpu.card import Card
from benchmarks.speed.gpu.found import Found
from benchmarks.speed.gpu.work import LARGE, SMALL


@dataclass(frozen=True, slots=True)
class Row:
    """least_s: it does not begin with less time left. most_s: it is ended then, and the next one begins."""

    measure: Callable[[Card], Found]
    least_s: float = 5.0
    most_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Rows:
    """What ``--rows MODULE`` hands to the process that measures."""

    rows: Mapping[str, Row] = field(default_factory=dict)


def _of(part: Callable[[Card, str], Found], name: str) -> Callable[[Card], Found]:
    return lambda card: part(card, name)


ROWS = Rows(
    {
        "rates": Row(sampling.rates),
        "row kernel": Row(sampling.kernel, most_s=90),
        f"forward {SMALL}": Row(_of(sampling.forward, SMALL)),
        f"rollouts {SMALL}": Row(_of(sampling.rollouts, SMALL)),
        f"learner {SMALL}": Row(learning.small, 10, 90),
        f"LoRA {LARGE}": Row(learning.lora_step, 60, 200),
        f"forward {LARGE}": Row(_of(sampling.forward, LARGE)),
        f"rollouts {LARGE}": Row(_of(sampling.rollouts, LARGE), 20, 120),
        "attention": Row(attention.back_ends),
        f"graphs {SMALL}": Row(_of(graphs.passes, SMALL)),
        f"graphs {LARGE}": Row(_of(graphs.passes, LARGE), 20, 90),
        "profile": Row(profiled.slowest, 20, 90),
        f"compiled {SMALL}": Row(_of(sampling.compiled, SMALL), 30, 120),
        f"compiled {LARGE}": Row(_of(sampling.compiled, LARGE), 40, 150),
    }
)


def of(table: Any) -> Mapping[str, Row]:
    """Of a module's ``ROWS``."""
    assert isinstance(table, Rows)
    return table.rows

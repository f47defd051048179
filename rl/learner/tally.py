"""One training step's numbers, gathered over micro-batches, inner updates and ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rl.learner.engine import Engine, StepResult

LARGEST = "actor/ratio_max_deviation"


class Tally:
    """Metrics of one training step. Tensors stay where they are until ``metrics``: reading one waits for its device."""

    def __init__(self, engine: Engine) -> None:
        self.stepped = 0
        self._engine = engine
        self._sums: dict[str, Tensor] = {}
        self._largest: list[Tensor] = []
        self._entropy: list[Tensor] = []
        self._rows = 0
        self._norms: list[float] = []
        self._skipped = 0

    def add_micro_batch(self, metrics: Mapping[str, Tensor], entropy: Tensor, rows: int) -> None:
        """A loss's metrics, which add up over micro-batches and ranks, and the mean entropy of its masked rows."""
        for name, value in metrics.items():
            if name == LARGEST:
                self._largest.append(value)
            else:
                self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._entropy.append(entropy * rows)
        self._rows += rows

    def add_step(self, result: StepResult) -> None:
        self.stepped += result.stepped
        self._skipped += not result.stepped
        if math.isfinite(result.grad_norm):
            self._norms.append(result.grad_norm)

    def metrics(self) -> dict[str, float]:
        """By public name: means over the optimizer steps, over all ranks. A collective. What is not finite is left out:
        ``actor/skipped_updates`` has counted it."""
        names = sorted(self._sums)
        entropy = float(torch.stack(self._entropy).sum())
        summed = self._engine.all_reduce_sum([*(float(self._sums[name]) for name in names), entropy, float(self._rows)])
        steps = self.stepped + self._skipped
        metrics = {name: value / steps for name, value in zip(names, summed, strict=False)}
        metrics["actor/entropy"] = summed[-2] / max(1.0, summed[-1])
        if self._largest:
            metrics[LARGEST] = max_over_ranks(self._engine, [float(torch.stack(self._largest).max())])[0]
        if self._norms:
            metrics["actor/grad_norm"] = sum(self._norms) / len(self._norms)
        metrics["actor/skipped_updates"] = float(self._skipped)
        return {name: value for name, value in metrics.items() if math.isfinite(value)}


def max_over_ranks(engine: Engine, values: Sequence[float]) -> list[float]:
    """The largest of all ranks' values, one by one. A collective: each rank sums into places of its own."""
    places = [0.0] * (engine.world_size * len(values))
    places[engine.rank * len(values) : (engine.rank + 1) * len(values)] = values
    summed = engine.all_reduce_sum(places)
    return [max(summed[index :: len(values)]) for index in range(len(values))]

"""Weights of past versions, for the log-probs with which a stale rollout was sampled."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rl.errors import TrainingError
from rl.learner.engine import Engine


class PastWeights:
    """The trained weights of the last versions, on the host. Version 0 is the present one, 1 the one before it."""

    def __init__(self, engine: Engine, count: int) -> None:
        self._engine = engine
        self._kept: deque[dict[str, Tensor]] = deque(maxlen=count + 1)

    def remember(self) -> None:
        """The weights of now are the present version's. A collective where an engine shards them."""
        with self._engine.whole():
            self._kept.appendleft({name: value.detach().to("cpu", copy=True) for name, value in self._trained()})

    @contextmanager
    def at(self, age: int) -> Iterator[None]:
        """In this block the module has the weights of ``age`` versions ago. Raises TrainingError where they are gone."""
        if age >= len(self._kept):
            raise TrainingError(
                f"a rollout is {age} weight versions old, and {len(self._kept) - 1} past ones are kept: raise "
                "learner.algorithm.importance_versions, or lower the staleness"
            )
        self._set(self._kept[age])
        try:
            yield
        finally:
            self._set(self._kept[0])

    def tensors(self) -> Iterator[Tensor]:
        """Those of every version that is kept."""
        return (value for weights in self._kept for value in weights.values())

    def _set(self, weights: dict[str, Tensor]) -> None:
        with self._engine.whole(change=True), torch.no_grad():
            for name, value in self._trained():
                value.copy_(weights[name])

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, value) for name, value in self._engine.module.named_parameters() if value.requires_grad)

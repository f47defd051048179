"""Weights through Ray's object store: one copy a node, in shared memory, which the workers of that node read."""

from __future__ import annotations

from typing import Any

import numpy as np

from cluster.weights.base import Destination, WeightWire
from cluster.weights.digest import Weights, copy_into, digest, require_finite, verify
from cluster.weights.payload import Payload
from rl.types import WeightRef


class ObjectStore(WeightWire):
    """The learner's first rank puts a version there. Workers load it before their next call."""

    def publish(self, payload: Payload, version: int) -> tuple[WeightRef, Any]:
        weights = payload.arrays()  # Ray copies what is returned before this rank does anything else
        require_finite(weights, version)
        return WeightRef(version, digest(weights)), weights

    def receive(self, destination: Destination, ref: WeightRef, body: Any) -> None:
        load(destination, ref, body)


def load(destination: Destination, ref: WeightRef, weights: Weights) -> None:
    """Arrays in this process's reach. Raises WorkerError where they are not what ``ref`` names."""
    verify(ref, weights)
    copy_into(destination.targets({name: np.shape(array) for name, array in weights.items()}), weights)

"""Weights on their way from the learner to the rollout workers: named by version and digest, checked on arrival.

Digests of weights, and which may be compared with which:

| function | algorithm, over what | compare with |
|---|---|---|
| ``digest`` | XXH3-128; float32 arrays on a host | ``buckets.stream_digest`` |
| ``buckets.stream_digest`` | the same, tensor by tensor while they travel | ``digest`` |
| ``fingerprint.fingerprint`` | SHA-256 of one sum a tensor; own types, on its device | ``fingerprint.stream_fingerprint`` |
| ``sha256`` | SHA-256; float32 arrays on a host | other runs' ``weights_digest`` in summary.json |
| ``rl.learner.trained.weights_digest`` | SHA-256; the tensors' own types | other checkpoints' base.json |
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from rl.errors import TrainingError, WorkerError
from rl.types import WeightRef

Weights = Mapping[str, np.ndarray]


def digest(weights: Weights) -> str:
    """XXH3-128 (hex) over names, types, shapes and bytes, in the order of the names. Every version is hashed where it leaves
    and where it arrives: this is seven times as fast as SHA-256, and guards against accidents as well."""
    return _hashed(xxhash.xxh3_128(), weights)


def sha256(weights: Weights) -> str:
    """The same as SHA-256, for what lasts: ``weights_digest`` of a summary."""
    return _hashed(hashlib.sha256(), weights)


def _hashed(found: Any, weights: Weights) -> str:
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.data)
    return found.hexdigest()


def require_finite(weights: Weights, version: int) -> None:
    """Raises TrainingError before weights that hold a NaN or an infinity are served to anybody."""
    for name in sorted(weights):
        if not np.isfinite(weights[name]).all():
            raise TrainingError(
                f"weights {version}: {name} holds a NaN or an infinity; they are not served. The last checkpoint is whole: "
                "look at actor/grad_norm, lower learner.lr, and start again"
            )


def verify(ref: WeightRef, weights: Weights) -> None:
    """Raises WorkerError where the weights are not the ones that ``ref`` names."""
    found = digest(weights)
    if found != ref.digest:
        raise WorkerError(f"weights {ref.version}: digest {found[:12]}..., expected {ref.digest[:12]}...")


def matching(targets: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
    """The targets. Raises WorkerError where names or shapes of what was sent differ from theirs."""
    if targets.keys() != shapes.keys():
        odd = sorted(targets.keys() ^ shapes.keys())
        raise WorkerError(f"weights: {len(odd)} names differ from the policy's, the first is {odd[0]!r}")
    for name, target in targets.items():
        if (shape := tuple(shapes[name])) != tuple(target.shape):
            raise WorkerError(f"weights: {name} has shape {shape}, the policy's has {tuple(target.shape)}")
    return targets


@torch.no_grad()
def copy_into(targets: Mapping[str, Tensor], weights: Weights) -> None:
    """Copy into these tensors, cast to their type. Raises WorkerError where names or shapes differ."""
    for name, target in matching(targets, {name: np.shape(array) for name, array in weights.items()}).items():
        # Arrays from Ray's object store are read-only, which torch cannot express: hand it a copy, one at a time.
        target.copy_(torch.from_numpy(np.array(weights[name])))

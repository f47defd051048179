"""Weights between processes of one device: handles travel, and whoever has them reads the learner's own memory.

On a GPU these are CUDA's IPC handles, on a CPU names of shared memory: torch's own reductions make both. The owner must
neither change nor free the tensors before the others are done.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from multiprocessing.reduction import ForkingPickler

import torch
from torch import Tensor, nn

from cluster.actors.errors import TransferError
from cluster.weights.digest import matching
from cluster.weights.fingerprint import fingerprint
from rl.errors import WorkerError
from rl.types import WeightRef


def lend(tensors: Mapping[str, Tensor]) -> bytes:
    """Handles of these tensors. On a CPU they move into shared memory, once, and stay what they are to their owner."""
    from torch.multiprocessing import set_sharing_strategy  # importing it registers what ForkingPickler calls

    set_sharing_strategy("file_system")  # names: the other strategy hands over file descriptors, to children alone
    buffer = io.BytesIO()
    ForkingPickler(buffer, pickle.HIGHEST_PROTOCOL).dump(dict(tensors))
    return buffer.getvalue()


@torch.no_grad()
def copy_lent(handles: bytes, module: nn.Module, ref: WeightRef) -> None:
    """Into the module's own tensors, cast to their type. Raises TransferError where the owner is gone, and WorkerError
    where they are not what ``ref`` names."""
    try:
        lent: dict[str, Tensor] = pickle.loads(handles)
    except (RuntimeError, OSError) as error:
        raise TransferError(f"weights {ref.version}: the learner's memory cannot be opened: {error}") from error
    found = fingerprint(lent)
    if found != ref.digest:
        raise WorkerError(f"weights {ref.version}: digest {found[:12]}..., expected {ref.digest[:12]}...")
    targets = matching(module, lent)
    for name, target in targets.items():
        target.copy_(lent[name])
    if any(target.device.type == "cuda" for target in targets.values()):
        torch.cuda.synchronize()  # the owner may change its memory as soon as this returns

"""Device memory that waits on the host for a while: what tensors hold goes there, and comes back to the same tensors.

This works by storage, not by tensor. Views, an engine's flat buffers, and a parameter whose memory is part of one all stay
what they are, whatever the engine. After ``restore`` every bit is what it was.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Offload:
    """``offload`` empties the storages of tensors on one kind of device; ``restore`` fills them. Neither acts twice."""

    def __init__(self, device: str) -> None:
        """device: ``cpu`` or ``cuda``, also with an index. Tensors on another kind stay as they are."""
        self._device = torch.device(device).type
        self._emptied: list[tuple[torch.UntypedStorage, int, Tensor | None]] = []

    @property
    def offloaded(self) -> bool:
        return bool(self._emptied)

    def offload(self, tensors: Iterable[Tensor], refilled: Iterable[Tensor] = ()) -> int:
        """The bytes given back.

        refilled: tensors whose numbers are not kept, because new ones will be written in their place.
        """
        if self._emptied:
            return 0
        forgotten = {_address(tensor) for tensor in refilled}
        for storage in _storages(tensors, self._device):
            size = storage.nbytes()
            kept = None if storage.data_ptr() in forgotten else _to_host(storage)
            storage.resize_(0)
            self._emptied.append((storage, size, kept))
        _release(self._device)
        return sum(size for _, size, _ in self._emptied)

    def restore(self) -> None:
        """Raises what the device raises where it has no room; a later call brings back the rest."""
        while self._emptied:
            storage, size, kept = self._emptied[-1]
            storage.resize_(size)
            if kept is not None:
                _bytes(storage).copy_(kept)
            self._emptied.pop()


def _storages(tensors: Iterable[Tensor], device: str) -> list[torch.UntypedStorage]:
    """Each once, by its address; those that hold something and can be resized."""
    found: dict[int, torch.UntypedStorage] = {}
    for tensor in tensors:
        if tensor.device.type != device or tensor.layout is not torch.strided:
            continue
        storage = tensor.untyped_storage()
        if storage.nbytes() and storage.resizable():
            found.setdefault(storage.data_ptr(), storage)
    return list(found.values())


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _bytes(storage: torch.UntypedStorage) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _to_host(storage: torch.UntypedStorage) -> Tensor:
    """Pinned where a GPU copies it: several times as fast, and torch keeps such memory for the next time."""
    host = torch.empty(storage.nbytes(), dtype=torch.uint8, pin_memory=storage.device.type == "cuda")
    return host.copy_(_bytes(storage))


def _release(device: str) -> None:
    """torch keeps what the storages held, until it is told to give it to other processes."""
    if device == "cuda":
        torch.cuda.empty_cache()

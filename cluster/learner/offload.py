"""Device memory given back for a while: what tensors hold goes to the host's memory, and comes back to the same tensors.

It is done by storage, not by tensor: views, an engine's flat buffers, and a parameter whose memory is a part of one all stay
what they are, whatever the engine. Afterwards every bit is what it was.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

OWNERS = ("rl", "policies", "cluster", "deepspeed", "torch")  # objects of these packages are looked into


class Parking:
    """``park`` empties the storages of what it is given, ``unpark`` fills them again. Neither does anything twice."""

    def __init__(self) -> None:
        self._parked: list[tuple[torch.UntypedStorage, int, Tensor | None]] = []

    @property
    def parked(self) -> bool:
        return bool(self._parked)

    def park(self, root: Any, device: str, refilled: Iterable[Tensor] = ()) -> int:
        """Of all tensors under ``root`` on this kind of device (``cpu`` or ``cuda``); the bytes given back.

        refilled: tensors whose numbers are not kept, since others will be written in their place.
        """
        if self._parked:
            return 0
        anew = {_address(tensor) for tensor in refilled}
        for storage in _storages(root, device):
            size = storage.nbytes()
            kept = None if storage.data_ptr() in anew else _to_host(storage)
            storage.resize_(0)
            self._parked.append((storage, size, kept))
        _release(device)
        return sum(size for _, size, _ in self._parked)

    def unpark(self) -> None:
        """Raises what the device raises where it has no room; what is not back yet can still come."""
        while self._parked:
            storage, size, kept = self._parked[-1]
            storage.resize_(size)
            if kept is not None:
                _bytes(storage).copy_(kept)
            self._parked.pop()


def tensors_in(root: Any) -> Iterator[Tensor]:
    """Every tensor that can be reached from an object through containers, tensors' gradients and attributes, and the
    attributes of objects of ``OWNERS``."""
    seen: set[int] = set()
    queue = deque([root])
    while queue:
        value = queue.popleft()
        if id(value) in seen or isinstance(value, (str, bytes, int, float, type)):
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield value
            queue.extend([value.grad] if value.is_leaf and value.grad is not None else [])
            queue.extend(vars(value).values())
        elif isinstance(value, Mapping):
            queue.extend([*value.keys(), *value.values()])
        elif isinstance(value, (list, tuple, set, frozenset, deque)):
            queue.extend(value)
        elif type(value).__module__.partition(".")[0] in OWNERS:
            queue.extend(_attributes(value))


def _attributes(value: Any) -> Iterator[Any]:
    yield from getattr(value, "__dict__", {}).values()
    for kind in type(value).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(value, name):
                yield getattr(value, name)


def _storages(root: Any, device: str) -> list[torch.UntypedStorage]:
    """Each once, by its address; those that hold something and can be resized."""
    found: OrderedDict[int, torch.UntypedStorage] = OrderedDict()
    for tensor in tensors_in(root):
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
    """What the storages held is torch's to use again until it is told to give it to other processes."""
    if device == "cuda":
        torch.cuda.empty_cache()

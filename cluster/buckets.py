"""Weights over a collective: buckets of fixed size, two of them at a time, so that one is filled while one travels.

The peak of memory beyond the weights themselves is two buckets on each side, however large the policy is. What is sent
comes from an iterator, so that an engine whose parameters lie scattered over ranks can gather them as they are needed.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from rl.errors import TrainingError, WorkerError
from rl.types import WeightRef

BUCKET_MIB = 16.0


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor of the stream. Example: ``Slot("head.weight", (4096, 256))``; numbers travel as float32."""

    name: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


def layout(tensors: Mapping[str, Any]) -> tuple[Slot, ...]:
    """The stream's order: by name, which is also that of ``cluster.weights.digest``."""
    return tuple(Slot(name, tuple(tensors[name].shape)) for name in sorted(tensors))


def stream_digest(tensors: Iterable[Tensor], slots: Sequence[Slot], version: int) -> str:
    """What ``cluster.weights.digest`` gives for the whole, one tensor at a time. Raises TrainingError for a NaN in it."""
    sha = hashlib.sha256()
    for slot, tensor in zip(slots, tensors, strict=True):
        if not torch.isfinite(tensor).all():
            raise TrainingError(f"weights {version}: {slot.name} holds a NaN or an infinity; they are not served")
        sha.update(_header(slot.name, slot.shape))
        sha.update(tensor.detach().contiguous().numpy().data)
    return sha.hexdigest()


def process_group(store: Any, rank: int, size: int, timeout_s: float, host: str = "127.0.0.1") -> Any:
    """A gloo group of its own, beside whatever torch.distributed runs already: it may break without harm to that.

    host: the address of this machine under which the others reach it.
    """
    gloo: Any = dist.ProcessGroupGloo  # pyright: ignore[reportAttributeAccessIssue]
    options = gloo._Options()
    options._devices, options._timeout = [gloo.create_device(hostname=host)], timedelta(seconds=timeout_s)
    return gloo(store, rank, size, options)


def send(group: Any, tensors: Iterable[Tensor], slots: Sequence[Slot], bucket_mib: float = BUCKET_MIB) -> None:
    """Broadcast from rank 0. tensors: in the order of ``slots``; each is read once and may be freed then."""
    size = _bucket_numbers(slots, bucket_mib)
    buckets, checks = [torch.empty(size) for _ in range(2)], [torch.zeros(1, dtype=torch.int64) for _ in range(2)]
    flying: list[list[Any]] = [[], []]
    for number, parts in enumerate(_filled(tensors, slots, size)):
        turn = number % 2
        for work in flying[turn]:
            work.wait()
        used = 0
        for part in parts:
            buckets[turn][used : used + part.numel()].copy_(part)
            used += part.numel()
        checks[turn][0] = zlib.crc32(buckets[turn][:used].numpy().data)
        flying[turn] = [group.broadcast(buckets[turn][:used], 0), group.broadcast(checks[turn], 0)]
    for work in [*flying[0], *flying[1]]:
        work.wait()


def receive(
    group: Any, slots: Sequence[Slot], take: Callable[[str, int, Tensor], None], bucket_mib: float = BUCKET_MIB
) -> None:
    """``take(name, start, numbers)`` gets the stream in order; numbers are valid during the call. Raises WorkerError where
    a bucket arrives changed, and what the group raises where the sender is gone."""
    size, total = _bucket_numbers(slots, bucket_mib), sum(slot.numel for slot in slots)
    buckets, checks = [torch.empty(size) for _ in range(2)], [torch.zeros(1, dtype=torch.int64) for _ in range(2)]
    starts = list(range(0, total, size))

    def ask(number: int) -> list[Any]:
        turn, used = number % 2, min(size, total - starts[number])
        return [group.broadcast(buckets[turn][:used], 0), group.broadcast(checks[turn], 0)]

    flying = [ask(0)] if starts else []
    spans = _spans(slots)
    for number, start in enumerate(starts):
        for work in flying.pop(0):
            work.wait()
        if number + 1 < len(starts):
            flying.append(ask(number + 1))
        bucket = buckets[number % 2][: min(size, total - start)]
        if zlib.crc32(bucket.numpy().data) != int(checks[number % 2]):
            raise WorkerError(f"weights: bucket {number} of {len(starts)} arrived changed")
        for name, tensor_start, low, high in _within(spans, start, start + len(bucket)):
            take(name, low - tensor_start, bucket[low - start : high - start])


class Intake:
    """Copies a stream into a module's own tensors, cast to their type, and adds up its digest on the way."""

    def __init__(self, targets: Mapping[str, Tensor], slots: Sequence[Slot]) -> None:
        found = {name: tuple(target.shape) for name, target in targets.items()}
        sent = {slot.name: slot.shape for slot in slots}
        if found != sent:
            odd = sorted(name for name in found.keys() | sent.keys() if found.get(name) != sent.get(name))
            raise WorkerError(f"weights: {len(odd)} tensors differ from the policy's, the first is {odd[0]!r}")
        self._targets = {name: target.detach().view(-1) for name, target in targets.items()}
        self._shapes, self._sha = sent, hashlib.sha256()
        self._ended: set[str] = set()

    @torch.no_grad()
    def take(self, name: str, start: int, numbers: Tensor) -> None:
        if start == 0:
            self._sha.update(_header(name, self._shapes[name]))
        self._sha.update(numbers.numpy().data)
        target = self._targets[name]
        target[start : start + len(numbers)].copy_(numbers)

    def verify(self, ref: WeightRef) -> None:
        """Raises WorkerError where the whole is not what ``ref`` names."""
        found = self._sha.hexdigest()
        if found != ref.digest:
            raise WorkerError(f"weights {ref.version}: digest {found[:12]}..., expected {ref.digest[:12]}...")


def _header(name: str, shape: tuple[int, ...]) -> bytes:
    return f"{name} <f4 {shape or (1,)}\n".encode()  # NumPy makes a row of one out of a lone number


def _bucket_numbers(slots: Sequence[Slot], bucket_mib: float) -> int:
    return max(1, min(int(bucket_mib * 2**20) // 4, sum(slot.numel for slot in slots)))


def _filled(tensors: Iterable[Tensor], slots: Sequence[Slot], size: int) -> Iterator[list[Tensor]]:
    """Pieces of tensors, bucket by bucket; every bucket but the last is full."""
    parts: list[Tensor] = []
    room = size
    for slot, tensor in zip(slots, tensors, strict=True):
        flat = tensor.detach().reshape(-1)
        if len(flat) != slot.numel:
            raise WorkerError(f"weights: {slot.name} has {len(flat)} numbers, {slot.numel} were announced")
        while len(flat):
            parts.append(flat[:room])
            flat, room = flat[room:], room - len(flat[:room])
            if room == 0:
                yield parts
                parts, room = [], size
    if parts:
        yield parts


def _spans(slots: Sequence[Slot]) -> list[tuple[str, int, int]]:
    """(name, first, last + 1) of every tensor in the stream."""
    found, at = [], 0
    for slot in slots:
        found.append((slot.name, at, at + slot.numel))
        at += slot.numel
    return found


def _within(spans: Sequence[tuple[str, int, int]], low: int, high: int) -> Iterator[tuple[str, int, int, int]]:
    for name, first, last in spans:
        if first < high and last > low:
            yield name, first, max(first, low), min(last, high)

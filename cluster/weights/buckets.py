"""Weights over a collective: pieces of at most a bucket, two of them at a time, so that one is filled while one travels.

The peak of memory beyond the weights themselves is two buckets on each side, however large the policy is: large tensors
travel in parts, from and to where they lie. What is sent comes from an iterator, so that an engine whose parameters lie
scattered over ranks can gather them as they are needed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import xxhash
from torch import Tensor
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from rl.errors import TrainingError, WorkerError
from rl.types import WeightRef

BUCKET_MIB = 16.0
DIRECT = 16  # a tensor of at least this part of a bucket is not worth packing


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


@dataclass(frozen=True, slots=True)
class Way:
    """device: where buckets are, and what they are sent by: gloo from hosts, NCCL between GPUs. dtype: of the numbers on
    their way. on_device: the whole is checked by ``cluster.weights.fingerprint`` when it is there, not by a hash on its way."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    on_device: bool = False

    def bucket(self, numbers: int) -> Tensor:
        return torch.empty(numbers, dtype=self.dtype, device=self.device)

    def numbers(self, slots: Sequence[Slot], bucket_mib: float) -> int:
        """Of one bucket."""
        return max(1, min(int(bucket_mib * 2**20) // self.dtype.itemsize, sum(slot.numel for slot in slots)))


HOST = Way()


def layout(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Slot, ...]:
    """The stream's order: by name, which is also that of ``cluster.weights.digest``."""
    return tuple(Slot(name, tuple(shapes[name])) for name in sorted(shapes))


def stream_digest(tensors: Iterable[Tensor], slots: Sequence[Slot], version: int) -> str:
    """What ``cluster.weights.digest`` gives for the whole, one tensor at a time. Raises TrainingError for a NaN in it."""
    found = xxhash.xxh3_128()
    for slot, tensor in zip(slots, tensors, strict=True):
        if not torch.isfinite(tensor).all():
            raise TrainingError(f"weights {version}: {slot.name} holds a NaN or an infinity; they are not served")
        found.update(_header(slot.name, slot.shape))
        found.update(tensor.detach().contiguous().numpy().data)
    return found.hexdigest()


def process_group(store: Any, rank: int, size: int, timeout_s: float, host: str, way: Way = HOST) -> Any:
    """A group of its own, beside whatever torch.distributed runs already: it may break without harm to that.

    host: the address of this machine under which the others reach it.
    """
    if way.device == "cuda":
        nccl: Any = dist.ProcessGroupNCCL  # pyright: ignore[reportAttributeAccessIssue]
        options = nccl.Options()
        options._timeout = timedelta(seconds=timeout_s)
        return nccl(store, rank, size, options)
    gloo: Any = dist.ProcessGroupGloo  # pyright: ignore[reportAttributeAccessIssue]
    options = gloo._Options()
    options._devices, options._timeout = [gloo.create_device(hostname=host)], timedelta(seconds=timeout_s)
    return gloo(store, rank, size, options)


def open_store(address: str) -> TCPStore:
    """A store that others meet at, on this address alone: PyTorch would listen on all of them. The port is the system's choice,
    taken at once: nobody can race us."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.create_server((address, 0), family=family, backlog=1024)
    port = listening.getsockname()[1]
    return TCPStore(address, port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach())


def send(
    group: Any, tensors: Iterable[Tensor], slots: Sequence[Slot], bucket_mib: float = BUCKET_MIB, way: Way = HOST
) -> None:
    """Broadcast from rank 0. tensors: in the order of ``slots``; each is read once, and let go two pieces later."""
    size = way.numbers(slots, bucket_mib)
    buckets = [way.bucket(size) for _ in range(2)]
    flying: list[tuple[Any, Tensor] | None] = [None, None]
    source = zip(slots, tensors, strict=True)
    flat = way.bucket(0)
    for number, piece in enumerate(pieces(slots, size)):
        turn = number % 2
        if (flight := flying[turn]) is not None:
            flight[0].wait()
        used = 0
        for span in piece:
            if span.low == 0:
                flat = _flat(*next(source)).to(way.dtype)
            if len(piece) > 1:
                buckets[turn][used : used + span.numbers].copy_(flat)
            used += span.numbers
        data = buckets[turn][:used] if len(piece) > 1 else flat[piece[0].low : piece[0].high]
        flying[turn] = group.broadcast(data, 0), data
    for flight in flying:
        if flight is not None:
            flight[0].wait()


def receive(group: Any, slots: Sequence[Slot], into: Intake, bucket_mib: float = BUCKET_MIB, way: Way = HOST) -> None:
    """Raises what the group raises where the sender is gone."""
    size = way.numbers(slots, bucket_mib)
    buckets = [way.bucket(size) for _ in range(2)]
    plan = list(pieces(slots, size))

    def ask(number: int) -> tuple[Any, Tensor]:
        piece = plan[number]
        room = into.place(piece[0]) if len(piece) == 1 else None
        data = buckets[number % 2][: sum(span.numbers for span in piece)] if room is None else room
        return group.broadcast(data, 0), data

    coming = ask(0) if plan else None
    for number, piece in enumerate(plan):
        assert coming is not None
        work, data = coming
        work.wait()
        coming = ask(number + 1) if number + 1 < len(plan) else None
        at = 0
        for span in piece:
            into.take(span, data[at : at + span.numbers])
            at += span.numbers


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers low .. high of one tensor."""

    name: str
    low: int
    high: int

    @property
    def numbers(self) -> int:
        return self.high - self.low


def pieces(slots: Sequence[Slot], size: int) -> Iterator[list[Span]]:
    """What travels at once, at most ``size`` numbers: small tensors packed together, or a part of a large one, which
    goes from where it lies to where it belongs without a copy."""
    pack: list[Span] = []
    packed = 0
    for slot in slots:
        large = slot.numel * DIRECT >= size
        if pack and (large or packed + slot.numel > size):
            yield pack
            pack, packed = [], 0
        if large:
            yield from ([Span(slot.name, low, min(low + size, slot.numel))] for low in range(0, slot.numel, size))
        else:
            pack.append(Span(slot.name, 0, slot.numel))
            packed += slot.numel
    if pack:
        yield pack


class Intake:
    """Copies a stream into a module's own tensors, cast to their type, and adds up its digest on the way.

    What has come is hashed by a thread of its own, from where it now lies, while the next piece travels. The order of the
    stream is that of the thread's work, so the digest is that of the whole.
    """

    def __init__(
        self, targets: Mapping[str, Tensor], slots: Sequence[Slot], *, with_digest: bool = True, way: Way = HOST
    ) -> None:
        found = {name: tuple(target.shape) for name, target in targets.items()}
        sent = {slot.name: slot.shape for slot in slots}
        if found != sent:
            odd = sorted(name for name in found.keys() | sent.keys() if found.get(name) != sent.get(name))
            raise WorkerError(f"weights: {len(odd)} tensors differ from the policy's, the first is {odd[0]!r}")
        self._targets = {name: target.detach().view(-1) for name, target in targets.items()}
        self._shapes, self._hash, self._way = sent, xxhash.xxh3_128(), way
        self._hashing = ThreadPoolExecutor(1, "digest") if with_digest else None

    def place(self, span: Span) -> Tensor | None:
        """Where these numbers belong, if they can be received right there."""
        target = self._targets[span.name]
        in_place = target.dtype == self._way.dtype and target.device.type == self._way.device
        return target[span.low : span.high] if in_place else None

    @torch.no_grad()
    def take(self, span: Span, numbers: Tensor) -> None:
        """In the order of the stream; they are copied unless they came to their place."""
        target = self._targets[span.name][span.low : span.high]
        if target.data_ptr() != numbers.data_ptr():
            target.copy_(numbers)
        if self._hashing is None:
            return
        if span.low == 0:
            self._hashing.submit(self._hash.update, _header(span.name, self._shapes[span.name]))
        if self.place(span) is not None:
            self._hashing.submit(self._hash.update, target.numpy().data)
        else:  # the bucket is all that holds these numbers as they came, and is about to be filled again
            self._hashing.submit(self._hash.update, numbers.contiguous().numpy().data).result()

    def digest(self) -> str:
        """Of all that came; nothing may come after this."""
        if self._hashing is not None:
            self._hashing.shutdown()
        return self._hash.hexdigest()

    def verify(self, ref: WeightRef, found: str | None = None) -> None:
        """Raises WorkerError where the whole is not what ``ref`` names. found: its digest, where that was not made on the way."""
        found = found or self.digest()
        if found != ref.digest:
            raise WorkerError(f"weights {ref.version}: digest {found[:12]}..., expected {ref.digest[:12]}...")


def _header(name: str, shape: tuple[int, ...]) -> bytes:
    return f"{name} <f4 {shape or (1,)}\n".encode()  # NumPy makes a row of one out of a lone number


def _flat(slot: Slot, tensor: Tensor) -> Tensor:
    flat = tensor.detach().contiguous().view(-1)
    if len(flat) != slot.numel:
        raise WorkerError(f"weights: {slot.name} has {len(flat)} numbers, {slot.numel} were announced")
    return flat

"""Safetensors files, read piece by piece into tensors that exist already.

The format is eight bytes of length, a JSON header, and the tensors' bytes (its README states it in full). Read in file
order and straight into place, a model needs its own memory and no more: a memory map would count every page twice.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from policies.files.strict_json import MAX_BYTES, open_regular, parse_json, shown
from rl.errors import PolicyError, first_line

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
DTYPES = {**FLOATS, "I64": torch.int64, "I32": torch.int32}
# Counters, masks and indices: no weight is of such a type, unless it is quantised, and then a weight is missing.
BUFFERS = {"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8}  # bytes of each
PIECE = 1 << 24  # elements that are converted at once
MAX_SIDES, MAX_SIDE, MAX_KEY = 8, 1 << 40, 1000  # of a shape, and characters of a name


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor in a file: bytes begin .. end, counted from the end of the header. dtype: the format's name of it."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Redundant:
    """Tensors that may stand in a file although the model makes them of others. Their numbers are compared.

    same      name -> the name of the tensor that it must equal
    computed  end of a name -> the values that it must have, to the precision of its dtype
    """

    same: Mapping[str, str] = field(default_factory=dict)
    computed: Mapping[str, Tensor] = field(default_factory=dict)


class Shard:
    """One file, open. Raises PolicyError, with both sizes, where it is not whole."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._source: BinaryIO = open_regular(file)
        try:
            self.entries, self._base = self._read_header()
        except OSError as error:
            self._source.close()
            raise self._unread(error) from error
        except BaseException:
            self._source.close()
            raise

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def read_into(self, key: str, targets: Sequence[Tensor]) -> None:
        """Fill contiguous tensors, one after another, with the bytes of ``key``, converted to their dtype and device."""
        entry = self.entries[key]
        self._source.seek(self._base + entry.begin)
        for target in targets:
            flat = target.detach().view(-1)
            for start in range(0, flat.numel(), PIECE):
                self._read_piece(flat[start : start + PIECE], DTYPES[entry.dtype])

    def pieces(self, key: str, size: int = PIECE) -> Iterator[Tensor]:
        """The numbers of ``key``, flat, up to ``size`` at once, in its own dtype."""
        entry = self.entries[key]
        count = prod(entry.shape)
        for start in range(0, count, size):
            piece = torch.empty(min(size, count - start), dtype=DTYPES[entry.dtype])
            self._source.seek(self._base + entry.begin + start * piece.element_size())
            self._read_piece(piece, piece.dtype)
            yield piece

    def _read_piece(self, target: Tensor, dtype: torch.dtype) -> None:
        in_place = target.dtype == dtype and target.device.type == "cpu"
        buffer = target if in_place else torch.empty(target.shape, dtype=dtype)
        view = memoryview(buffer.view(torch.uint8).numpy())  # pyright: ignore[reportArgumentType] - arrays are buffers
        while len(view):
            count = self._source.readinto(view)  # pyright: ignore[reportAttributeAccessIssue] - a buffered file has it
            if not count:
                raise PolicyError(f"{self.file}: ended while it was read; copy it again")
            view = view[count:]
        if not in_place:
            with torch.no_grad():
                target.copy_(buffer)

    def _read_header(self) -> tuple[dict[str, Entry], int]:
        size = self.file.stat().st_size
        length = struct.unpack("<Q", self._source.read(8).ljust(8, b"\0"))[0]
        if size < 8 + length or not 2 <= length <= MAX_BYTES:
            raise self._broken(f"its header is to be {length} bytes long, and the file has {size}")
        try:
            header = parse_json(self._source.read(length))
            if not isinstance(header, dict):
                raise ValueError(f"a {type(header).__name__}, and no object")
            entries = {key: _entry(key, value) for key, value in header.items() if key != "__metadata__"}
        except ValueError as error:
            raise self._broken(f"its header cannot be read: {first_line(error)}") from error
        expected = 8 + length + max((entry.end for entry in entries.values()), default=0)
        if size != expected:
            raise self._broken(f"it has {size} bytes, and its header promises {expected}")
        self._check_tiling(entries)
        return entries, 8 + length

    def _check_tiling(self, entries: Mapping[str, Entry]) -> None:
        """One tensor's bytes begin where another's end: the format has neither overlaps nor holes."""
        reached, before = 0, ""
        for key, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
            if entry.begin != reached:
                what = f"shares bytes with {before}" if entry.begin < reached else "leaves a hole before it"
                raise self._broken(f"{key} begins at {entry.begin}, not at {reached}: it {what}")
            reached, before = entry.end, key

    def _unread(self, error: OSError) -> PolicyError:
        return PolicyError(f"{self.file}: cannot be read: {error.strerror}")

    def _broken(self, reason: str) -> PolicyError:
        return PolicyError(f"{self.file}: not a whole safetensors file: {reason}; copy it again")


def _entry(key: str, value: object) -> Entry:
    """Raises ValueError: one line."""
    if len(key) > MAX_KEY or not key.isprintable():
        raise ValueError(f"{shown(key)} is no name of a tensor")
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{key} has no dtype, shape and data_offsets")
    name, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not _whole_numbers(shape) or len(shape) > MAX_SIDES or not _whole_numbers(offsets) or len(offsets) != 2:
        raise ValueError(f"{key}: shape {shown(shape, 60)} and data_offsets {shown(offsets, 60)} are no whole numbers")
    if not isinstance(name, str) or len(name) > 20 or not name.isprintable():
        raise ValueError(f"{key}: dtype {shown(name, 40)} is no name of one")
    begin, end = offsets
    width = DTYPES[name].itemsize if name in DTYPES else BUFFERS.get(name)
    if begin > end or (width is not None and end - begin != prod(shape) * width):
        raise ValueError(f"{key} of shape {tuple(shape)} cannot have {end - begin} bytes")
    return Entry(name, tuple(shape), begin, end)


def _whole_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each <= MAX_SIDE for each in value)


def count_tensors(files: Sequence[Path]) -> int:
    """From the files' headers. Raises PolicyError."""
    count = 0
    for file in files:
        with Shard(file) as shard:
            count += len(shard.entries)
    return count


def check_weights(
    files: Sequence[Path], tensors: Mapping[str, Sequence[Tensor]], redundant: Redundant | None = None
) -> None:
    """From the files' headers, that each is whole and that together they hold every tensor once, in its shape.

    tensors: name in the files -> ours which, end to end, are the tensor of that name. What else there is must be
    ``redundant``, whose numbers are read and compared, or no weight at all: a buffer of integers or truth values.
    Raises PolicyError.
    """
    redundant = redundant or Redundant()
    left, places, extra = dict(tensors), dict[str, Path](), dict[Path, list[str]]()
    for file in files:
        with Shard(file) as shard:
            for key, entry in shard.entries.items():
                if key in tensors:
                    if key in places:
                        raise _unfit(file, key, "stands in two files")
                    _check_dtype(file, key, entry, tensors[key])
                    _check_shape(file, key, entry.shape, left.pop(key))
                    places[key] = file
                elif entry.dtype not in BUFFERS or key in redundant.same or key.endswith(tuple(redundant.computed)):
                    extra.setdefault(file, []).append(key)
    if left:
        raise PolicyError(
            f"{files[0].parent}: {len(left)} missing tensors, the first is {next(iter(left))}; copy the folder again, or "
            "mend config.json if it describes another model"
        )
    for file, keys in extra.items():
        with Shard(file) as shard:  # once for all: a stranger's file may have a hundred thousand
            for key in keys:
                _check_redundant(shard, key, places, redundant)


def _check_redundant(shard: Shard, key: str, places: Mapping[str, Path], redundant: Redundant) -> None:
    ending = next((end for end in redundant.computed if key.endswith(end)), None)
    if key not in redundant.same and ending is None:
        raise _unfit(shard.file, key, "has no place in the model of config.json")
    entry = shard.entries[key]
    if entry.dtype not in FLOATS:
        raise _quantised(shard.file, key, entry)
    if ending is not None:
        values = redundant.computed[ending]
        if entry.shape != tuple(values.shape) or not _close(torch.cat(list(shard.pieces(key))), values):
            raise _unfit(
                shard.file,
                key,
                "holds other numbers than rope_theta of config.json gives; the model would not use them",
            )
        return
    other = redundant.same[key]
    with Shard(places[other]) as second:
        if not _equal(shard, key, second, other):
            raise _unfit(
                shard.file, key, f"differs from {other}, and config.json says that they are one (tie_word_embeddings or "
                "weight_tying is true); set it to false if the head is its own",
            )  # fmt: skip


def _equal(first: Shard, key: str, second: Shard, other: str) -> bool:
    if first.entries[key].shape != second.entries[other].shape:
        return False
    pairs = zip(first.pieces(key, 1 << 20), second.pieces(other, 1 << 20), strict=True)
    return all(torch.equal(a.double(), b.double()) for a, b in pairs)


def _close(found: Tensor, wanted: Tensor) -> bool:
    """To two units in the last place of what was saved, and to the rounding of a sum done elsewhere."""
    precision = max(2 * torch.finfo(found.dtype).eps, 1e-5)
    return torch.allclose(found.double(), wanted.double(), rtol=precision, atol=torch.finfo(found.dtype).tiny)


def read_weights(files: Sequence[Path], tensors: Mapping[str, Sequence[Tensor]]) -> None:
    """Fill every tensor, in the order in which the files have them: after check_weights."""
    for file in files:
        with Shard(file) as shard:
            for key in sorted(shard.entries.keys() & tensors.keys(), key=lambda name: shard.entries[name].begin):
                shard.read_into(key, tensors[key])


def _check_dtype(file: Path, key: str, entry: Entry, parts: Sequence[Tensor]) -> None:
    if entry.dtype not in DTYPES or (parts[0].is_floating_point() and entry.dtype not in FLOATS):
        raise _quantised(file, key, entry)


def _quantised(file: Path, key: str, entry: Entry) -> PolicyError:
    return PolicyError(
        f"{file}: {key} has dtype {entry.dtype}; allowed: {', '.join(FLOATS)}; quantised weights cannot be trained: use an "
        "unquantised checkpoint"
    )


def _unfit(file: Path, key: str, problem: str) -> PolicyError:
    return PolicyError(f"{file}: {key} {problem}; is this the config of these weights?")


def _check_shape(file: Path, key: str, shape: tuple[int, ...], parts: Sequence[Tensor]) -> None:
    wanted = tuple(parts[0].shape)
    if len(parts) > 1:
        wanted = (sum(part.shape[0] for part in parts), *wanted[1:])
    if shape != wanted:
        raise PolicyError(
            f"{file}: {key} has shape {shape}, but config.json makes it {wanted}; the weights and the config are "
            "of two models; copy both from one checkpoint"
        )

"""Safetensors files, read piece by piece into tensors that exist already.

The format is eight bytes of length, a JSON header, and the tensors' bytes (its README states it in full). Read in file
order and straight into place, a model needs its own memory and no more: a memory map would count every page twice.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from rl.errors import PolicyError

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32,
}  # fmt: skip
PIECE = 1 << 24  # elements that are converted at once
# Tensors that may stand in a file although a model computes or ties them.
DERIVED = ("rotary_emb.inv_freq", "lm_head.weight")
MAX_HEADER = 100_000_000  # bytes, the format's own limit


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor in a file: bytes begin .. end, counted from the end of the header."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class Shard:
    """One file, open. Raises PolicyError, with both sizes, where it is not whole."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._source: BinaryIO = file.open("rb")
        try:
            self.entries, self._base = self._read_header()
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
                self._read_piece(flat[start : start + PIECE], entry.dtype)

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
        if size < 8 + length or not 2 <= length <= MAX_HEADER:
            raise self._broken(f"its header is to be {length} bytes long, and the file has {size}")
        try:
            header = json.loads(self._source.read(length))
            entries = {key: self._entry(key, value) for key, value in header.items() if key != "__metadata__"}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._broken(f"its header cannot be read: {error}") from error
        expected = 8 + length + max((entry.end for entry in entries.values()), default=0)
        if size != expected:
            raise self._broken(f"it has {size} bytes, and its header promises {expected}")
        return entries, 8 + length

    def _entry(self, key: str, value: dict) -> Entry:
        if value["dtype"] not in DTYPES:
            raise PolicyError(
                f"{self.file}: {key} has dtype {value['dtype']}; allowed: {', '.join(DTYPES)}; use an unquantised checkpoint"
            )
        dtype, shape = DTYPES[value["dtype"]], tuple(map(int, value["shape"]))
        begin, end = map(int, value["data_offsets"])
        if not 0 <= begin <= end or end - begin != prod(shape) * dtype.itemsize:
            raise ValueError(f"{key} of shape {shape} cannot have {end - begin} bytes")
        return Entry(dtype, shape, begin, end)

    def _broken(self, reason: str) -> PolicyError:
        return PolicyError(f"{self.file}: not a whole safetensors file: {reason}; copy it again")


def check_weights(files: Sequence[Path], tensors: Mapping[str, Sequence[Tensor]]) -> None:
    """From the files' headers alone, that each is whole and that together they hold every tensor once, in its shape.

    tensors: name in the files -> ours which, end to end, are the tensor of that name. Raises PolicyError.
    """
    left = dict(tensors)
    for file in files:
        with Shard(file) as shard:
            for key, entry in shard.entries.items():
                if key in left:
                    _check_shape(file, key, entry.shape, left.pop(key))
                elif not key.endswith(DERIVED):
                    problem = "stands in two files" if key in tensors else "has no place in the model of config.json"
                    raise PolicyError(f"{file}: {key} {problem}; is this the config of these weights?")
    if left:
        raise PolicyError(
            f"{files[0].parent}: {len(left)} missing tensors, the first is {next(iter(left))}; copy the folder again, or "
            "mend config.json if it describes another model"
        )


def read_weights(files: Sequence[Path], tensors: Mapping[str, Sequence[Tensor]]) -> None:
    """Fill every tensor, in the order in which the files have them: after check_weights."""
    for file in files:
        with Shard(file) as shard:
            for key in sorted(shard.entries.keys() & tensors.keys(), key=lambda name: shard.entries[name].begin):
                shard.read_into(key, tensors[key])


def _check_shape(file: Path, key: str, shape: tuple[int, ...], parts: Sequence[Tensor]) -> None:
    wanted = tuple(parts[0].shape)
    if len(parts) > 1:
        wanted = (sum(part.shape[0] for part in parts), *wanted[1:])
    if shape != wanted:
        raise PolicyError(
            f"{file}: {key} has shape {shape}, but config.json makes it {wanted}; the weights and the config are "
            "of two models; copy both from one checkpoint"
        )

"""Rows of an Arrow batch as plain Python values, for Parquet files and folders of Hugging Face ``datasets``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from rl.errors import DataError, first_line

_Change = Callable[[Any], Any]


def batch_rows(label: str, batch: pa.RecordBatch, first: int) -> Iterator[Mapping[str, Any]]:
    """Rows of a batch; ``first`` is the number of the first one, for messages that begin with ``label``.

    Raises DataError for a value that Python cannot hold, with its row and column.
    """
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        change = _change(column.type)
        values = _values(label, name, column, first)
        columns.append(values if change is None else [None if value is None else change(value) for value in values])
    names = batch.schema.names
    for values in zip(*columns, strict=True) if columns else ():
        yield dict(zip(names, values, strict=True))


def _values(label: str, name: str, column: pa.Array, first: int) -> list[Any]:
    try:
        microseconds = _microseconds(column.type)
        whole = column if microseconds == column.type else column.cast(microseconds, safe=False)
        return whole.to_pylist()
    except (
        ValueError,
        OverflowError,
        pa.ArrowException,
    ):  # bytes that are no text in a text column, the year 20000, ...
        for offset in range(len(column)):
            try:
                column[offset].as_py()
            except (ValueError, OverflowError, pa.ArrowException) as error:
                what = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else first_line(error)
                raise DataError(f"{label}: row {first + offset}: column {name}: {what}") from error
        raise


def _change(kind: pa.DataType) -> _Change | None:
    """What turns a value of this type into ours; None where it is one already."""
    if pa.types.is_float16(kind):
        return _shortest(np.float16)
    if pa.types.is_float32(kind):
        return _shortest(np.float32)
    if pa.types.is_float64(kind):
        return lambda value: None if value != value else value
    if pa.types.is_dictionary(kind):
        return _change(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _change(kind.storage_type)
    if pa.types.is_map(kind):
        return _entries(_change(kind.key_type), _change(kind.item_type))
    if pa.types.is_struct(kind):
        changes = {field.name: change for field in kind if (change := _change(field.type)) is not None}
        return _fields(changes) if changes else None
    if _is_list(kind):
        inner = _change(kind.value_type)
        return None if inner is None else _items(inner)
    return None


def _shortest(kind: Callable[[float], np.floating[Any]]) -> _Change:
    """The shortest decimal that is this number in its own precision, as a Python float. NaN is None."""

    def change(value: Any) -> float | None:
        return None if value != value else float(str(kind(value)))

    return change


def _items(inner: _Change) -> _Change:
    return lambda values: [None if value is None else inner(value) for value in values]


def _fields(changes: Mapping[str, _Change]) -> _Change:
    def change(value: dict[str, Any]) -> dict[str, Any]:
        for name, inner in changes.items():
            if value.get(name) is not None:
                value[name] = inner(value[name])
        return value

    return change


def _entries(keys: _Change | None, items: _Change | None) -> _Change:
    """pyarrow gives a map as a list of pairs."""

    def change(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        return {keys(key) if keys else key: items(item) if items and item is not None else item for key, item in pairs}

    return change


def _microseconds(kind: pa.DataType) -> pa.DataType:
    """The type with nanoseconds cut to microseconds, which Python's own dates hold."""
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    if pa.types.is_struct(kind):
        fields = [pa.field(field.name, _microseconds(field.type), field.nullable) for field in kind]
        return pa.struct(fields) if any(new.type != old.type for new, old in zip(fields, kind, strict=True)) else kind
    if pa.types.is_list(kind) and _microseconds(kind.value_type) != kind.value_type:
        return pa.list_(_microseconds(kind.value_type))
    if pa.types.is_large_list(kind) and _microseconds(kind.value_type) != kind.value_type:
        return pa.large_list(_microseconds(kind.value_type))
    return kind


def _is_list(kind: pa.DataType) -> bool:
    checks = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    return any(check(kind) for check in checks)

"""How items travel to a child process and back: as JSON that keeps the types of a row's values."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from rl.types import Message, Prompt, RewardItem, Task

_MARK = "$type"
# What JSON has no type for: class -> (value to text, text to value). The order counts: a datetime is a date too.
_TEXTS: dict[type, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    bytes: (lambda value: base64.b64encode(value).decode(), base64.b64decode),
    Decimal: (str, Decimal),
    datetime: (datetime.isoformat, datetime.fromisoformat),
    date: (date.isoformat, date.fromisoformat),
    time: (time.isoformat, time.fromisoformat),
    timedelta: (lambda value: str(value // timedelta(microseconds=1)), lambda text: timedelta(microseconds=int(text))),
    UUID: (str, UUID),
}
_READERS = {kind.__name__: read for kind, (_, read) in _TEXTS.items()}


def to_json(item: RewardItem) -> dict[str, Any]:
    """An item as JSON; pictures as base64 of NumPy's own format."""
    prompt = item.prompt
    return {
        "id": prompt.id,
        "task": str(prompt.task),
        "messages": [[message.role, message.content] for message in prompt.messages],
        "prompt_image": typed(prompt.image),
        "reference": prompt.reference,
        "ground_truth": typed(prompt.ground_truth),
        "source": prompt.source,
        "metadata": typed(prompt.metadata),
        "text": item.text,
        "image": typed(item.image),
    }


def from_json(row: Mapping[str, Any]) -> RewardItem:
    prompt = Prompt(
        row["id"],
        Task(row["task"]),
        tuple(Message(role, content) for role, content in row["messages"]),
        image=untyped(row["prompt_image"]),
        reference=row["reference"],
        source=row["source"],
        metadata=untyped(row["metadata"]),
        ground_truth=untyped(row["ground_truth"]),
    )
    return RewardItem(prompt, row["text"], untyped(row["image"]))


def typed(value: Any) -> Any:
    """JSON from which ``untyped`` makes the same value: types that JSON lacks stand in an object that names them.

    Anything else than plain Python values and NumPy arrays becomes its text.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and _MARK not in value:
            return {key: typed(item) for key, item in value.items()}
        return {_MARK: "dict", "of": [[typed(key), typed(item)] for key, item in value.items()]}
    if isinstance(value, tuple | set | frozenset):
        return {_MARK: "tuple" if isinstance(value, tuple) else "set", "of": [typed(item) for item in value]}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return {_MARK: "array", "of": base64.b64encode(buffer.getvalue()).decode()}
    if isinstance(value, np.ndarray):
        return typed(value.tolist())
    kind = next((kind for kind in _TEXTS if isinstance(value, kind)), None)
    return str(value) if kind is None else {_MARK: kind.__name__, "of": _TEXTS[kind][0](value)}


def untyped(value: Any) -> Any:
    """The value of which ``typed`` made this JSON."""
    if isinstance(value, list):
        return [untyped(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    kind, content = value.get(_MARK), value.get("of")
    if kind is None:
        return {key: untyped(item) for key, item in value.items()}
    if kind == "array":
        return np.load(io.BytesIO(base64.b64decode(str(content))), allow_pickle=False)
    if kind in _READERS:
        return _READERS[kind](str(content))
    items = [untyped(item) for item in content or ()]
    return dict(items) if kind == "dict" else tuple(items) if kind == "tuple" else set(items)


def plain(value: Any) -> Any:
    """What JSON can hold: arrays as lists, keys as text, anything else as its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)

"""How items travel to a child process and back: as JSON."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from rl.types import Message, Prompt, RewardItem, Task


def to_json(item: RewardItem) -> dict[str, Any]:
    """An item as JSON; pictures as base64 of NumPy's own format."""
    prompt = item.prompt
    return {
        "id": prompt.id,
        "task": str(prompt.task),
        "messages": [[message.role, message.content] for message in prompt.messages],
        "prompt_image": _image_to_json(prompt.image),
        "reference": prompt.reference,
        "source": prompt.source,
        "metadata": plain(prompt.metadata),
        "text": item.text,
        "image": _image_to_json(item.image),
    }


def from_json(row: Mapping[str, Any]) -> RewardItem:
    prompt = Prompt(
        row["id"],
        Task(row["task"]),
        tuple(Message(role, content) for role, content in row["messages"]),
        image=_image_from_json(row["prompt_image"]),
        reference=row["reference"],
        source=row["source"],
        metadata=row["metadata"],
    )
    image = _image_from_json(row["image"])
    return RewardItem(prompt, row["text"], image if isinstance(image, np.ndarray) else None)


def plain(value: Any) -> Any:
    """What JSON can hold: arrays as lists, keys as text, anything else as its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _image_to_json(image: str | np.ndarray | None) -> Any:
    if not isinstance(image, np.ndarray):
        return image
    buffer = io.BytesIO()
    np.save(buffer, image, allow_pickle=False)
    return {"npy": base64.b64encode(buffer.getvalue()).decode()}


def _image_from_json(value: Any) -> str | np.ndarray | None:
    if not isinstance(value, Mapping):
        return value
    return np.load(io.BytesIO(base64.b64decode(value["npy"])), allow_pickle=False)

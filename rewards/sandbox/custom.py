"""The user's reward function inside a killable child process, and what it needs to get there and back as JSON."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewards.base import failed
from rewards.sandbox.parent import Isolated
from rl.errors import RewardError
from rl.types import Message, Prompt, RewardItem, Score, ScoreStatus, Task

logger = logging.getLogger("unigrpo.rewards.custom")

_PRINTED = 4_000  # characters of a call's output that reach the log
_START_S = 60.0  # the file's own imports, once a process
_loaded: dict[str, Any] = {}  # of the child: the reward that it serves


class IsolatedFunction:
    """Calls ``path``'s function on items in a child process; each failure is a status and one line.

    The child has none of this process's environment but PATH, can write files in a temporary folder of its own alone, and
    is killed after ``deadline_s`` seconds or past ``memory_mb`` MiB of address space. What the function prints is logged.
    """

    def __init__(self, path: str, function: str, extra: Mapping[str, Any], deadline_s: float, memory_mb: int) -> None:
        self.label, self.deadline_s = f"{path}:{function}", deadline_s
        self._what = {"path": path, "function": function, "extra": dict(extra)}
        self._child = Isolated(
            "rewards.sandbox.custom:call", memory_mb=memory_mb, recycle_after=1_000_000, network=True
        )
        loaded = self._child.call({**self._what, "items": []}, _START_S)
        if loaded.status is not ScoreStatus.OK:
            self.close()
            raise RewardError(loaded.detail.removeprefix("RewardError: ") or f"{self.label}: {loaded.status}")

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        outcome = self._child.call({**self._what, "items": [pack(item) for item in items]}, self.deadline_s)
        if outcome.status is not ScoreStatus.OK:
            return [failed(outcome.status, f"{self.label}: {outcome.detail}", outcome.seconds / len(items))] * len(
                items
            )
        for line in outcome.value["printed"].splitlines():
            logger.info("%s prints: %s", self.label, line)
        return [
            Score(row["value"], ScoreStatus(row["status"]), row["parts"], detail=row["detail"])
            for row in outcome.value["scores"]
        ]

    def close(self) -> None:
        self._child.close()


def call(payload: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: load the file at the first call, then score."""
    from rewards.custom import CustomReward

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        if "reward" not in _loaded:
            _loaded["reward"] = CustomReward(payload["path"], payload["function"], payload["extra"])
        scores = _loaded["reward"].score([unpack(item) for item in payload["items"]])
    rows = [{"value": s.value, "status": str(s.status), "parts": dict(s.parts), "detail": s.detail} for s in scores]
    return {"scores": rows, "printed": printed.getvalue()[:_PRINTED]}


def pack(item: RewardItem) -> dict[str, Any]:
    """An item as JSON; pictures as base64 of NumPy's own format."""
    prompt = item.prompt
    return {
        "id": prompt.id,
        "task": str(prompt.task),
        "messages": [[message.role, message.content] for message in prompt.messages],
        "prompt_image": _pack_image(prompt.image),
        "reference": prompt.reference,
        "source": prompt.source,
        "metadata": plain(prompt.metadata),
        "text": item.text,
        "image": _pack_image(item.image),
    }


def unpack(row: Mapping[str, Any]) -> RewardItem:
    prompt = Prompt(
        row["id"],
        Task(row["task"]),
        tuple(Message(role, content) for role, content in row["messages"]),
        image=_unpack_image(row["prompt_image"]),
        reference=row["reference"],
        source=row["source"],
        metadata=row["metadata"],
    )
    image = _unpack_image(row["image"])
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


def _pack_image(image: str | np.ndarray | None) -> Any:
    if not isinstance(image, np.ndarray):
        return image
    buffer = io.BytesIO()
    np.save(buffer, image, allow_pickle=False)
    return {"npy": base64.b64encode(buffer.getvalue()).decode()}


def _unpack_image(value: Any) -> str | np.ndarray | None:
    if not isinstance(value, Mapping):
        return value
    return np.load(io.BytesIO(base64.b64decode(value["npy"])), allow_pickle=False)

"""A reward that is an HTTP service of the user's: a batch in, scores out. ``docs/reward_service.yaml`` is its OpenAPI.

POST url  {"items": [{"id", "task", "source", "messages", "completion", "reference", "metadata", "image"}, ...]}
     ->   {"scores": [1.0, null, {"value": 0.5, "parts": {"length": 12}}, {"status": "invalid", "detail": "..."}]}
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeGuard

from rewards.base import absent, failed, invalid
from rewards.json_client import JsonClient, RequestFailed, Retry, check_token, check_url
from rewards.sandbox.wire import plain
from rewards.settings import RewardSettings, setting
from rl.types import RewardItem, Score, ScoreStatus

MOST_PARTS, LONGEST_PART = 256, 200  # names of parts that are taken of one service, and characters of one


@dataclass(frozen=True, kw_only=True)
class ServiceSettings(RewardSettings):
    url: str = setting("of the service")
    batch_size: int = setting("items in one request", 64, above=0)
    concurrency: int = setting("requests at a time", 4, above=0)
    deadline_s: float = setting("seconds for one request with its retries", 60.0, above=0)
    attempts: int = setting("how often a request is tried in all", 3, above=0)
    token_env: str | None = setting("environment variable that holds the bearer token", None)

    def check(self) -> None:
        check_url("url", self.url)
        check_token(self.token_env)


class ServiceReward:
    """Your own HTTP service. ``null`` says that an item has no such reward; a wrong count, a NaN or a string is ``invalid``."""

    name = "service"
    Settings = ServiceSettings

    def __init__(self, settings: ServiceSettings) -> None:
        self.url, self.batch_size, self.concurrency = settings.url, settings.batch_size, settings.concurrency
        self._named: set[str] = set()
        self._client = JsonClient(
            settings.url,
            token_env=settings.token_env,
            deadline_s=settings.deadline_s,
            retry=Retry(settings.attempts),
        )

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        parts = [items[start : start + self.batch_size] for start in range(0, len(items), self.batch_size)]
        with ThreadPoolExecutor(self.concurrency) as threads:
            return [score for scores in threads.map(self._batch, parts) for score in scores]

    def _batch(self, items: Sequence[RewardItem]) -> list[Score]:
        try:
            reply = self._client.post({"items": [describe(item) for item in items]})
        except RequestFailed as error:
            return [failed(error.status, error.detail)] * len(items)
        rows = reply.get("scores") if isinstance(reply, Mapping) else None
        if not isinstance(rows, list):
            return [invalid(f"{self.url}: the answer has no list 'scores'")] * len(items)
        if len(rows) != len(items):
            return [invalid(f"{self.url}: {len(rows)} scores for {len(items)} items")] * len(items)
        return [self._read(row, item) for row, item in zip(rows, items, strict=True)]

    def _read(self, row: Any, item: RewardItem) -> Score:
        """A row that cannot be read, whatever is in it, fails alone."""
        try:
            return self._one(row, item)
        except Exception as error:  # a value of extreme depth
            return invalid(f"{self.url}: row {item.prompt.id}: its score cannot be read ({type(error).__name__})")

    def _one(self, row: Any, item: RewardItem) -> Score:
        where = f"{self.url}: row {item.prompt.id}"
        if row is None:
            return absent()
        if not isinstance(row, Mapping):
            row = {"value": row}
        status = str(row.get("status") or "ok")
        if status not in tuple(ScoreStatus):
            return invalid(f"{where}: status {status[:60]!r}; allowed: {', '.join(ScoreStatus)}")
        if status in (ScoreStatus.TIMEOUT, ScoreStatus.CRASHED, ScoreStatus.INVALID):
            return failed(ScoreStatus(status), f"{where}: {_on_one_line(row.get('detail'))}")
        if "value" not in row:
            keys = ", ".join(map(repr, row)) or "none"
            return invalid(
                f"{where}: an object without 'value': its keys are {keys[:200]}; null stands for no such reward"
            )
        value, parts = row["value"], row.get("parts") or {}
        if not is_finite(value):
            return invalid(f"{where}: value {_shown(value)}; allowed: a finite number, or null for no such reward")
        parts = parts if isinstance(parts, Mapping) else {}
        numbers = {str(key): float(part) for key, part in parts.items() if is_finite(part) and self._knows(str(key))}
        return Score(float(value), ScoreStatus(status), numbers, detail=_on_one_line(row.get("detail")))

    def _knows(self, name: str) -> bool:
        """Whether a part of this name is taken: each name is a curve of the run, and a service has so many of them."""
        if name not in self._named and len(self._named) < MOST_PARTS and len(name) <= LONGEST_PART:
            self._named.add(name)
        return name in self._named


def is_finite(value: Any) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _on_one_line(detail: Any) -> str:
    return " ".join(str(detail or "").split())[:300]


def _shown(value: Any) -> str:
    return (
        "a number of hundreds of digits"
        if isinstance(value, int) and value.bit_length() > 1024
        else repr(str(value)[:60])
    )


def describe(item: RewardItem) -> dict[str, Any]:
    """What the service sees of one item; a drawn picture as base64 PNG."""
    prompt = item.prompt
    return {
        "id": prompt.id,
        "task": str(prompt.task),
        "source": prompt.source,
        "messages": [{"role": message.role, "content": message.content} for message in prompt.messages],
        "completion": item.text,
        "reference": plain(prompt.reference),
        "metadata": plain(prompt.metadata),
        "image": None if item.image is None else png(item.image),
    }


def png(image: Any) -> str:
    """base64 PNG of uint8 [H, W, 3]."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()

"""JSON over HTTP to a service of the user's: deadlines, retries with jitter, a cap on the answer's size, no redirects.

The standard library's client in threads: scoring is a few hundred small requests at a time, and one dependency less.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rl.errors import RewardError
from rl.types import ScoreStatus

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_CHUNK = 1 << 16


class RequestFailed(Exception):
    """No usable answer; ``status`` is what the scores of this request become."""

    def __init__(self, status: ScoreStatus, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass(frozen=True, slots=True)
class Retry:
    """Attempts in all, and seconds before the second, doubled each time and drawn from [half, whole] of it."""

    attempts: int = 3
    wait_s: float = 0.5
    longest_wait_s: float = 20.0

    def wait(self, attempt: int, asked_s: float, chance: random.Random) -> float:
        backoff = min(self.longest_wait_s, self.wait_s * 2 ** (attempt - 1))
        return max(min(asked_s, self.longest_wait_s), backoff * chance.uniform(0.5, 1.0))


class JsonClient:
    """``JsonClient("http://127.0.0.1:8000/score").post({...})``; any thread may call it.

    token_env    name of the environment variable that holds a bearer token; the token itself is in no config
    deadline_s   seconds for one call with all of its attempts
    max_bytes    of one answer
    rate         requests a second at most; None: no limit
    """

    def __init__(
        self,
        url: str,
        *,
        token_env: str | None = None,
        deadline_s: float = 60.0,
        retry: Retry | None = None,
        max_bytes: int = 8 << 20,
        rate: float | None = None,
    ) -> None:
        self.url, self.deadline_s, self.max_bytes = url, deadline_s, max_bytes
        self._retry, self._token_env, self._rate = retry or Retry(), token_env, rate
        self._lock, self._next = threading.Lock(), 0.0
        self._chance = random.Random()
        handlers: list[Any] = [_NoRedirects()]
        if urlsplit(url).hostname in _LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def post(self, body: Mapping[str, Any], path: str = "") -> Any:
        """The answer's JSON. Raises RequestFailed: ``timeout``, ``crashed`` (no or bad service) or ``invalid`` (no JSON)."""
        ends = time.monotonic() + self.deadline_s
        data = json.dumps(body).encode()
        for attempt in range(1, self._retry.attempts + 1):
            self._wait_for_turn(ends)
            try:
                return self._once(data, path, ends)
            except _Again as again:
                wait = self._retry.wait(attempt, again.wait_s, self._chance)
                if attempt == self._retry.attempts or time.monotonic() + wait >= ends:
                    raise RequestFailed(again.status, f"{self.url}: {again} (after {attempt} attempts)") from again
                time.sleep(wait)
        raise AssertionError("unreachable")

    def _once(self, data: bytes, path: str, ends: float) -> Any:
        request = urllib.request.Request(self.url + path, data=data, headers=self._headers(), method="POST")
        left = ends - time.monotonic()
        try:
            with self._opener.open(request, timeout=max(0.01, left)) as response:
                return self._read(response, ends)
        except urllib.error.HTTPError as error:
            if error.code in _AGAIN:
                raise _Again(ScoreStatus.CRASHED, f"HTTP {error.code}", _retry_after(error)) from error
            said = error.read(300).decode(errors="replace").strip().splitlines()
            what = f"HTTP {error.code}: {said[0] if said else error.reason}"
            raise RequestFailed(ScoreStatus.CRASHED, f"{self.url}: {what}") from error
        except TimeoutError as error:
            raise RequestFailed(ScoreStatus.TIMEOUT, f"{self.url}: no answer within {self.deadline_s:g} s") from error
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise RequestFailed(
                    ScoreStatus.TIMEOUT, f"{self.url}: no answer within {self.deadline_s:g} s"
                ) from error
            raise _Again(ScoreStatus.CRASHED, f"{type(reason).__name__}: {reason}") from error

    def _read(self, response: Any, ends: float) -> Any:
        parts = bytearray()
        while part := response.read1(_CHUNK):
            parts += part
            if len(parts) > self.max_bytes:
                raise RequestFailed(ScoreStatus.INVALID, f"{self.url}: an answer of more than {self.max_bytes} bytes")
            if time.monotonic() > ends:
                raise TimeoutError
        try:
            return json.loads(parts)
        except (ValueError, RecursionError) as error:
            raise RequestFailed(
                ScoreStatus.INVALID, f"{self.url}: the answer is not JSON: {bytes(parts[:80])!r}"
            ) from error

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        token = os.environ.get(self._token_env, "") if self._token_env else ""
        return headers | ({"Authorization": f"Bearer {token}"} if token else {})

    def _wait_for_turn(self, ends: float) -> None:
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + 1.0 / self._rate
        if turn > ends:
            raise RequestFailed(
                ScoreStatus.TIMEOUT,
                f"{self.url}: no turn within {self.deadline_s:g} s at {self._rate:g} requests a second",
            )
        time.sleep(max(0.0, turn - now))


def check_url(where: str, url: str) -> None:
    """Raises RewardError, in one line, for what is no http(s) URL."""
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise RewardError(f"{where}={url!r}: not a URL; expected e.g. http://127.0.0.1:8000/score")


class _Again(Exception):
    def __init__(self, status: ScoreStatus, detail: str, wait_s: float = 0.0) -> None:
        super().__init__(detail)
        self.status, self.wait_s = status, wait_s


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would send the rows, and the token, somewhere else than the config says."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _retry_after(error: urllib.error.HTTPError) -> float:
    value = error.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0

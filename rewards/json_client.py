"""JSON over HTTP to a service of the user's: deadlines, retries with jitter, a cap on the answer's size, no redirects.

httpx2 asynchronously, one short event loop a request: so that the deadline is of the whole exchange, also where a service
sends its headers or its body a byte at a time. Its transport's own retries are not used: they know neither statuses, the
deadline, nor the rate.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from rl.errors import RewardError, one_line
from rl.output.secrets import Secret, SecretError, read_token, redact, scrubbed
from rl.types import ScoreStatus

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TOLD = 1 << 16  # bytes of an answer that a message is made of
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class RequestFailed(Exception):
    """No usable answer; ``status`` is what the scores of this request become."""

    def __init__(self, status: ScoreStatus, detail: str) -> None:
        self.status, self.detail = status, redact(detail)
        super().__init__(self.detail)


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
        check_token(token_env)
        self._lock, self._next = threading.Lock(), 0.0
        self._chance = random.Random()
        self._trust_env = urlsplit(url).hostname not in _LOOPBACK
        self._tls = ssl.create_default_context()

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
        try:
            answer, body = asyncio.run(self._exchange(data, path, max(0.01, ends - time.monotonic())))
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise RequestFailed(ScoreStatus.TIMEOUT, f"{self.url}: no answer within {self.deadline_s:g} s") from error
        except httpx2.RequestError as error:
            raise _Again(ScoreStatus.CRASHED, one_line(_root(error))) from error
        except RequestFailed:
            raise
        except Exception as error:  # an answer that the client's layers do not survive
            raise RequestFailed(ScoreStatus.CRASHED, f"{self.url}: {one_line(error)}") from error
        if answer.status_code in _AGAIN:
            raise _Again(ScoreStatus.CRASHED, f"HTTP {answer.status_code}", _retry_after(answer))
        if not answer.is_success:
            said = redact(_text(body)).strip().splitlines()  # and then cut, so that no token is cut in two
            what = f"HTTP {answer.status_code}: {said[0][:300] if said else answer.reason_phrase}"
            raise RequestFailed(ScoreStatus.CRASHED, f"{self.url}: {what}")
        try:
            return scrubbed(json.loads(body))
        except (ValueError, RecursionError) as error:
            raise RequestFailed(ScoreStatus.INVALID, f"{self.url}: the answer is not JSON: {_start(body)}") from error

    async def _exchange(self, data: bytes, path: str, left: float) -> tuple[httpx2.Response, bytes]:
        """The answer and its body. A redirect is not followed: rows and token would go where the config does not say."""
        body = bytearray()
        async with (
            asyncio.timeout(left),
            httpx2.AsyncClient(trust_env=self._trust_env, verify=self._tls, timeout=None) as client,
            client.stream("POST", self.url + path, content=data, headers=self._headers()) as answer,
        ):
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > self.max_bytes:
                    what = f"an answer of more than {self.max_bytes} bytes"
                    raise RequestFailed(ScoreStatus.INVALID, f"{self.url}: {what}")
        return answer, bytes(body)

    def _headers(self) -> Sequence[tuple[bytes, bytes]]:
        names = {b"Content-Type": b"application/json", b"Accept": b"application/json", b"Accept-Encoding": b"identity"}
        token = self._token()
        if token is not None:
            names[b"Authorization"] = f"Bearer {token.reveal()}".encode("latin-1")
        return list(names.items())

    def _token(self) -> Secret | None:
        try:
            return read_token(self._token_env) if self._token_env else None
        except SecretError as error:  # it was changed since this client was made
            raise RequestFailed(ScoreStatus.CRASHED, str(error)) from None

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
    """Raises RewardError, in one line, for what is no http(s) URL, or has a blank, a control character or a user in it."""
    if "@" in re.split(r"[/?#]", url.partition("//")[2], maxsplit=1)[0]:  # not shown: it may hold a password
        raise RewardError(
            f"{where}: a user or password stands in the URL; take it out, and set token_env for a bearer token"
        )
    if any(char.isspace() or not char.isprintable() for char in url):
        raise RewardError(f"{where}={url!r}: a blank or control character stands in the URL; take it out, or write %20")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and bool(httpx2.URL(url).host)  # the client reads it more strictly
    except (ValueError, httpx2.InvalidURL):  # a port that is no number, or an address with half a bracket
        usable = False
    if not usable:
        raise RewardError(f"{where}={url!r}: not a URL; expected e.g. http://127.0.0.1:8000/score")


def check_token(token_env: str | None) -> None:
    """Raises RewardError, which names the variable and never has its value, for a token that cannot be sent."""
    try:
        if token_env:
            read_token(token_env)
    except SecretError as error:
        raise RewardError(str(error)) from None


def _start(body: bytes) -> str:
    """The start of an answer, for a message."""
    return repr(redact(_text(body))[:80])


def _text(body: bytes) -> str:
    return body[:_TOLD].decode(errors="replace")


class _Again(Exception):
    def __init__(self, status: ScoreStatus, detail: str, wait_s: float = 0.0) -> None:
        super().__init__(redact(detail))
        self.status, self.wait_s = status, wait_s


def _retry_after(answer: httpx2.Response) -> float:
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0


def _root(error: BaseException) -> BaseException:
    """What the network said, below what the client's layers made of it."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error

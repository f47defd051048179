"""Ray's job server as this project uses it: each request has a deadline, and each failure is one line of ours."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rl.errors import ConfigError, DeadlineError, UniGRPOError, WorkerError, first_line
from rl.output.secrets import know, without_login

PROBE_S = 5.0
REQUEST_S = 60.0  # of one request; an upload of 500 MiB fits into it on a cluster's network
CHECK_S = 10.0  # a log that stays silent for so long: does the job still run?
LOST = ("JOB_SUPERVISOR_ACTOR_DIED", "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE", "JOB_SUPERVISOR_ACTOR_START_FAILURE")


# Exit codes of a driver that SIGKILL, SIGTERM or Ctrl-C ended, of itself or as its shell tells it. Who stops a job through
# Ray finds it STOPPED instead.
KILLED = {-signal.SIGKILL: "SIGKILL", -signal.SIGTERM: "SIGTERM", 137: "SIGKILL", 143: "SIGTERM", 130: "SIGTERM"}


class HeadLostError(WorkerError):
    """The head, or the way to it, is gone: it may come back."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the head knows it. status: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED, or LOST: nobody knows it."""

    id: str
    status: str
    exit_code: int | None = None
    error: str = ""
    message: str = ""
    began_ms: int | None = None

    @property
    def running(self) -> bool:
        return self.status in ("PENDING", "RUNNING")

    @property
    def lost(self) -> bool:
        """It did not end by itself: its head, its node or its process was taken from it."""
        taken = self.error in LOST or self.exit_code in KILLED
        return self.status == "LOST" or (self.status == "FAILED" and taken)


class JobServer:
    """The job server of the head at ``http://HOST:PORT``. Raises ConfigError, DeadlineError, HeadLostError.

    What a proxy before the head asks for is in the environment, as for Ray's own command: ``RAY_JOB_HEADERS``.
    """

    def __init__(self, address: str) -> None:
        self.address = checked_address(address)
        probe(self.address)
        use_token()
        self._client = _client(self.address, headers())

    def again(self) -> JobServer:
        """A new connection to the same address."""
        return JobServer(self.address)

    def submit(self, job_id: str, entrypoint: str, runtime_env: dict[str, Any], metadata: dict[str, str]) -> None:
        with _told(self.address):
            self._client.submit_job(
                submission_id=job_id, entrypoint=entrypoint, runtime_env=runtime_env, metadata=metadata
            )

    def job(self, job_id: str) -> Job:
        with _told(self.address):
            try:
                details = self._client.get_job_info(job_id)
            except RuntimeError as error:
                if "status code 404" in str(error):
                    return Job(job_id, "LOST", message=f"the head at {self.address} knows no job {job_id}")
                raise
        return _job(details)

    def jobs(self) -> list[Job]:
        """Submitted ones, the newest first."""
        with _told(self.address):
            found = [_job(details) for details in self._client.list_jobs() if details.submission_id]
        return sorted(found, key=lambda job: job.began_ms or 0, reverse=True)

    def stop(self, job_id: str) -> bool:
        """Whether it was running. It gets SIGTERM, and SIGKILL seconds later."""
        with _told(self.address):
            return bool(self._client.stop_job(job_id))

    def logs(self, job_id: str) -> str:
        with _told(self.address):
            return self._client.get_job_logs(job_id)

    def follow(self, job_id: str, write: Callable[[str], object]) -> Job:
        """Hand on what the job writes until it ends. Raises HeadLostError where the head goes away meanwhile."""
        with _told(self.address):
            asyncio.run(self._follow(job_id, write))
        return self._ended(job_id)

    async def _follow(self, job_id: str, write: Callable[[str], object]) -> None:
        lines = self._client.tail_job_logs(job_id).__aiter__()
        waiting = asyncio.ensure_future(lines.__anext__())
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=CHECK_S)
            if not done:
                if self.job(job_id).running:
                    continue
                waiting.cancel()
                return
            try:
                write(waiting.result())
            except StopAsyncIteration:
                return
            waiting = asyncio.ensure_future(lines.__anext__())

    def _ended(self, job_id: str) -> Job:
        """The log ends a moment before the head notes how the job did."""
        ends = time.monotonic() + REQUEST_S
        while (job := self.job(job_id)).running:
            if time.monotonic() > ends:
                raise HeadLostError(
                    f"job {job_id}: its log ended {REQUEST_S:g} s ago, and the head still calls it running"
                )
            time.sleep(0.2)
        return job


def checked_address(address: str) -> str:
    """``http://HOST:PORT`` of HOST:PORT or a URL. Raises ConfigError, also for one with a login in it, and without that."""
    text, shown = address if "://" in address else f"http://{address}", without_login(address)
    if "@" in address:
        raise ConfigError(
            f"--address {shown}: a login in it would be in the list of processes, for all users of this machine; for a proxy "
            'before the head, set RAY_JOB_HEADERS=\'{"Authorization": "Basic ..."}\''
        )
    try:
        url = urlsplit(text)
        fits = url.scheme in ("http", "https") and url.hostname and (url.port or url.scheme == "https")
    except ValueError:
        fits = False
    if not fits:
        raise ConfigError(
            f"--address {shown}: expected http://HOST:PORT of the head's job server, whose port is 8265 by default"
        )
    return f"{url.scheme}://{url.netloc}"


def headers() -> dict[str, str]:
    """Of every request, from RAY_JOB_HEADERS. Raises ConfigError, which does not show them."""
    text = os.environ.get("RAY_JOB_HEADERS", "")
    try:
        found = json.loads(text or "{}")
        fits = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    except (ValueError, RecursionError):
        fits, found = False, {}
    if not fits:
        know(text)
        raise ConfigError('RAY_JOB_HEADERS: expected a JSON object of texts, e.g. {"Authorization": "Basic ..."}')
    for value in found.values():
        know(value)
        know(value.rpartition(" ")[2])
    return found


def probe(address: str) -> None:
    """Raises DeadlineError within seconds where nobody listens: Ray's client would wait for minutes."""
    url = urlsplit(address)
    try:
        socket.create_connection((url.hostname or "", url.port or 443), timeout=PROBE_S).close()
    except (OSError, OverflowError) as error:
        text = f"--address {address}: no Ray head answers within {PROBE_S:g} s: {error}"
        raise DeadlineError(f"{text}; is `ray start --head` running there, and its dashboard's port open?") from error


def use_token() -> None:
    """Who has set a token wants it sent. Before the first import of ray, which reads the mode once."""
    if any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _client(address: str, headers: dict[str, str]) -> Any:
    try:
        import aiohttp  # noqa: F401
        import requests  # noqa: F401
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise ConfigError(f"submit needs ray's job client here: pip install 'ray[default]' ({error})") from error
    os.environ.pop("RAY_API_SERVER_ADDRESS", None)  # Ray would take it in place of the address that it is given
    # All that is staged is wanted: Ray would leave out what lies below a folder called venv, too.
    os.environ["RAY_RUNTIME_ENV_IGNORE_GITIGNORE"] = "1"
    os.environ["RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES"] = ""
    for name in ("dashboard.modules.job.sdk", "dashboard.modules.dashboard_sdk", "_private.runtime_env.packaging"):
        logging.getLogger(f"ray.{name}").setLevel(logging.ERROR)

    class Client(JobSubmissionClient):
        def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
            return super()._do_request(method, endpoint, timeout=REQUEST_S, **options)

    with _told(address):
        return Client(address, headers=headers or None)


@contextmanager
def _told(address: str) -> Iterator[None]:
    """What Ray's client raises, as what it means here."""
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError

    where = f"--address {address}"
    try:
        yield
    except UniGRPOError:
        raise  # said already; some of ours are also RuntimeErrors
    except AuthenticationError:
        how = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) to the head's"
        raise ConfigError(f"{where}: the head does not take this token, or none was sent: {how}") from None
    except (requests.Timeout, TimeoutError):
        raise HeadLostError(f"{where}: no answer within {REQUEST_S:g} s") from None
    except requests.JSONDecodeError:
        raise ConfigError(f"{where}: what answers there is not Ray's job server") from None
    except (requests.ConnectionError, ConnectionError, aiohttp.ClientError) as error:
        raise HeadLostError(f"{where}: lost the connection: {first_line(error)}") from None
    except requests.HTTPError as error:
        raise ConfigError(f"{where}: {first_line(error)}") from None
    except RuntimeError as error:
        if "WebSocket" in str(error):
            raise HeadLostError(f"{where}: the log's connection broke off") from None
        raise ConfigError(f"{where}: {first_line(error)[:300]}") from None
    except ValueError as error:  # requests' own for an address that it cannot use
        raise ConfigError(f"{where}: {first_line(error)[:300]}") from None


def _job(details: Any) -> Job:
    return Job(
        id=details.submission_id,
        status=str(getattr(details.status, "value", details.status)),
        exit_code=details.driver_exit_code,
        error=str(details.error_type or "").rpartition(".")[2],
        message=" ".join((details.message or "").split()),
        began_ms=details.start_time,
    )

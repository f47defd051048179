"""``judge.serve``: a supervised ``vllm serve`` in an environment of its own, on loopback, with a token of this run's.

Here is the server of one process; ``cluster.workers.judge_actor`` puts it into an actor where the run is on Ray.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rewards.registry import settings_of
from rl.config import Config
from rl.errors import ConfigError, DeadlineError, WorkerError

TOKEN_ENV = "UNIGRPO_JUDGE_TOKEN"
_GRACE_S = 10.0
# The server in this process's place, and beside it a watcher of a pipe whose other end is ours: when we are gone, even
# killed, it ends the whole group, so that no server of a dead run keeps a GPU.
_GUARD = 'exec 3<&0; (cat <&3 >/dev/null; kill -KILL 0) & exec "$@" 3<&- </dev/null'
logger = logging.getLogger(__name__)


@contextmanager
def judge_serving(config: Config) -> Iterator[Config]:
    """The config with the judge's address in it, while the server runs; as it is where ``judge.serve`` is null.

    Raises ConfigError, WorkerError (it ended before it served) or DeadlineError.
    """
    if config.judge.serve is None:
        yield config
        return
    token = os.environ[TOKEN_ENV] = secrets.token_urlsafe(24)  # where the reward looks for it; no config holds it
    server = JudgeServer(config, token)
    try:
        server.start()
        yield pointed_at(config, server.url)
    finally:
        server.close()
        os.environ.pop(TOKEN_ENV, None)


def check_judge(config: Config) -> None:
    """What can be known before anything starts. Raises ConfigError."""
    judge = config.judge
    if judge.serve is None:
        return
    if config.cluster.address is not None:
        return  # it is started on a machine of the cluster, whose programs are not known here
    if shutil.which(judge.command[0]) is None:
        raise ConfigError(
            f"judge.command[0]={judge.command[0]!r}: no such program; install vllm in an environment of its own and "
            "give the path of its vllm, e.g. judge.command=[/opt/judge/bin/vllm]"
        )


class JudgeServer:
    """``start`` returns when it answers; from then on, a server that ends is started again, ``restarts`` times at most."""

    def __init__(self, config: Config, token: str, port: int = 0) -> None:
        self._judge, self._token = config.judge, token
        self._log = config.run_dir / "judge.log"
        self._port = port or config.judge.port or free_port()
        self.url = f"http://127.0.0.1:{self._port}/v1"
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="judge server", daemon=True)

    def start(self) -> None:
        """Raises WorkerError or DeadlineError, with the last line that it wrote."""
        self.launch()
        self.wait_ready()
        self.watch()

    def wait_ready(self) -> None:
        ends = time.monotonic() + self._judge.start_deadline_s
        while not self._answers():
            if self._process is not None and self._process.poll() is not None:
                raise WorkerError(f"judge server: ended with code {self._process.returncode}; {self._last_words()}")
            if time.monotonic() > ends:
                raise DeadlineError(
                    f"judge server: no answer within judge.start_deadline_s={self._judge.start_deadline_s:g}; "
                    f"{self._last_words()}"
                )
            self._closing.wait(0.2)

    def watch(self) -> None:
        """From now on, start it again where it ends."""
        self._watcher.start()

    def close(self) -> None:
        """End the server and what it started: asked first, then killed."""
        self._closing.set()
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self._kill_group()
        self._process.wait()

    def launch(self) -> None:
        """Start it, and return at once."""
        judge = self._judge
        self._log.parent.mkdir(parents=True, exist_ok=True)
        arguments = [*judge.command, "serve", str(judge.serve), "--host", "127.0.0.1", "--port", str(self._port)]
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "sh", *arguments, "--served-model-name", "judge", *judge.args],
                env={**environment, "VLLM_API_KEY": self._token},  # not in argv, which anyone can list
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1

    def _watch(self) -> None:
        """Restart what ended. Requests meanwhile fail, and are retried or have the status ``crashed``."""
        while not self._closing.wait(0.5):
            process = self._process
            if process is None or process.poll() is None:
                continue
            if self.starts > self._judge.restarts:
                logger.error("judge server: ended %d times; it stays down. %s", self.starts, self._last_words())
                return
            logger.warning("judge server: ended with code %s; starting it again", process.returncode)
            self._kill_group()
            self.launch()

    def _kill_group(self) -> None:
        """What the server started, too: its engine is a process of its own, which would keep its memory."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _answers(self) -> bool:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                self.url.removesuffix("/v1") + "/health", timeout=2.0
            ) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def _last_words(self) -> str:
        lines = Path(self._log).read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        return f"last line of {self._log}: {lines[-1][:200]}" if lines else f"{self._log} is empty"


def pointed_at(config: Config, url: str) -> Config:
    """Every reward that is a judge without an address gets this one."""
    settings = {name: dict(values) for name, values in config.rewards.settings.items()}
    settings.setdefault("judge", {})
    for name, values in settings.items():
        if settings_of({"name": name, **values}).uses_judge_server and not values.get("url"):
            values.update(url=url, model="judge", token_env=TOKEN_ENV)
    return dataclasses.replace(config, rewards=dataclasses.replace(config.rewards, settings=settings))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]

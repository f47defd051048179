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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rewards.registry import settings_of
from rl.config import Config
from rl.errors import ConfigError, DeadlineError, WorkerError
from rl.output.printable import said
from rl.output.secrets import Secret, variable_names_secret

TOKEN_ENV = "UNIGRPO_JUDGE_TOKEN"
_GRACE_S = 10.0
# The server in this process's place, and beside it a watcher of a pipe whose other end is ours: when we are gone, even
# killed, it ends the whole group, so that no server of a dead run keeps a GPU.
_GUARD = 'exec 3<&0; (cat <&3 >/dev/null; kill -KILL 0) & exec "$@" 3<&- </dev/null'
logger = logging.getLogger(__name__)
# What a server of a model needs of this process's environment. A secret is in none of them, whatever its name begins with.
_ALLOWED = frozenset(
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TMPDIR TERM VIRTUAL_ENV CONDA_PREFIX LD_LIBRARY_PATH CC CXX "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE "
    "HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy".split()
)
_ALLOWED_FAMILIES = (
    "LC_", "XDG_", "CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "ROCM_", "HIP_", "ROCR_", "VLLM_", "TORCH", "PYTORCH_", "TRITON_",
    "HF_", "TRANSFORMERS_", "TOKENIZERS_", "OMP_", "MKL_", "OPENBLAS_",
)  # fmt: skip


@contextmanager
def judge_serving(config: Config) -> Iterator[Config]:
    """The config with the judge's address in it, while the server runs; as it is where ``judge.serve`` is null.

    Raises ConfigError, WorkerError (it ended before it served) or DeadlineError.
    """
    if config.judge.serve is None:
        yield config
        return
    token = Secret(secrets.token_urlsafe(24))
    os.environ[TOKEN_ENV] = token.reveal()  # where the reward looks for it; no config holds it
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
    for name in judge.env:
        if name not in os.environ:
            raise ConfigError(f"judge.env: {name} is not set in this environment")


class JudgeServer:
    """``start`` returns when it answers; from then on, a server that ends is started again, ``restarts`` times at most."""

    def __init__(self, config: Config, token: Secret | str, port: int = 0) -> None:
        self._judge, self._token = config.judge, token if isinstance(token, Secret) else Secret(token)
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
        with _private_log(self._log) as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "sh", *arguments, "--served-model-name", "judge", *judge.args],
                env={
                    **environment(judge.env),
                    "VLLM_API_KEY": self._token.reveal(),
                },  # not in argv, which anyone can list
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
        return f"last line of {self._log}: {said(lines[-1], limit=200)}" if lines else f"{self._log} is empty"


def environment(listed: Sequence[str] = ()) -> dict[str, str]:
    """What the server gets of this process's environment. listed: variables that it needs besides, secrets as well."""
    mine = {
        name: value
        for name, value in os.environ.items()
        if (name in _ALLOWED or name.startswith(_ALLOWED_FAMILIES)) and not variable_names_secret(name)
    }
    return {**mine, **{name: os.environ[name] for name in listed if name in os.environ}}


def _private_log(file: Path) -> IO[bytes]:
    """Open to append, for its owner alone: a server may write its key into it."""
    opened = os.fdopen(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600), "ab")
    os.fchmod(opened.fileno(), 0o600)  # it was there before
    return opened


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

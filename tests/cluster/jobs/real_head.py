"""A real Ray head with a token, on this machine's loopback, for tests that send jobs."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def head(folder: Path, token: str) -> Iterator[str]:
    """``ray start --head --block`` with token authentication, and no Python of ours on its PATH, in a process group that is
    ended with all it started."""
    ports = [_free_port() for _ in range(3)]
    flags = dict(zip(("--port", "--dashboard-port", "--dashboard-agent-listen-port"), ports, strict=True))
    env = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_USAGE_STATS_ENABLED": "0"}
    env["PATH"] = ":".join(way for way in env["PATH"].split(":") if Path(way) != Path(sys.executable).parent)
    env.pop("RAY_ADDRESS", None)
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=4",
        "--include-dashboard=true", f"--temp-dir={folder}", "--disable-usage-stats", "--node-ip-address=127.0.0.1",
        *(f"{name}={port}" for name, port in flags.items()),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield f"http://127.0.0.1:{ports[1]}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        finally:
            _kill_all_of(folder)


def _kill_all_of(folder: Path) -> None:
    """Ray's processes name their session's folder: nothing of ours may outlive the test."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in part for part in process.info["cmdline"] or ()):
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def a_cluster() -> Iterator[tuple[str, str]]:
    """Its dashboard's address and its token, once it takes connections."""
    token = secrets.token_hex(32)
    with (
        tempfile.TemporaryDirectory(prefix="ur", dir="/tmp") as folder,  # short: sockets
        head(Path(folder), token) as address,
    ):
        host, _, port = address.removeprefix("http://").partition(":")
        ends = time.monotonic() + 120
        while time.monotonic() < ends:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address, token

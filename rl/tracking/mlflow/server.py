"""``python -m rl.tracking.mlflow.server [RUN_FOLDER] [--port 5000]``: MLflow's pages on this machine, until Ctrl-C.

It listens on loopback alone, says what to look at first, and ends with everything that it started.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import yaml

from rl.checkpoints.files import read_inside
from rl.errors import ConfigError, UniGRPOError
from rl.output.printable import said
from rl.tracking.mlflow.store import ARTIFACTS, follow
from rl.tracking.mlflow_address import sqlite_file, store_uri

HOST = "127.0.0.1"
START_S = 180.0
GRACE_S = 10.0
_RUN_FILE, _CONFIG_FILE = "mlflow_run.json", "config.yaml"
_VIEW = "workflowType=machine_learning"  # else the pages are those of chat applications
_LOOK = """Look at first, on the run's page:
  Overview          what trains on what, the command, how to go on
  Model metrics     1 held out, 2 reward, 3 health, 4 policy, 5 speed
  Traces            what was written and drawn, and how each reward judged it; filter by a reward's name
  Artifacts         samples/followed_*.json: the same held-out prompts over time; images/: drawings"""


def main(words: Sequence[str] | None = None) -> int:
    """The exit code: 0 after Ctrl-C, 2 where there is nothing to show."""
    parser = argparse.ArgumentParser(prog="make mlflow", description="MLflow's pages of a run and its neighbours.")
    parser.add_argument("run", nargs="?", default="runs/tiny", help="a run's folder, or the folder of several")
    parser.add_argument("--port", default="5000")
    given = parser.parse_args(words)
    try:
        port = _port(given.port)
        uri, page = where(Path(given.run))
        if uri.startswith(("http://", "https://")):
            _say(f"The numbers of {given.run} are on a server: {uri.rstrip('/')}/{page}\n{_LOOK}")
            return 0
        return serve(uri, page, port)
    except UniGRPOError as error:
        print(f"error: {said(error)}", file=sys.stderr)
        return 2


def where(run: Path) -> tuple[str, str]:
    """The store that a run logs to, and its page's place there. Raises ConfigError where there is none."""
    uri = _setting(run) or store_uri(run if _is_run(run) else run / "run")
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        uri = store_uri(run)
        file = sqlite_file(uri)
    if file is not None and not file.is_file():
        raise ConfigError(f"RUN={run}: no MLflow store there or beside it ({file}); give a run's folder: RUN=runs/NAME")
    return uri, _page(run)


def serve(uri: str, page: str, port: int) -> int:
    """MLflow's server in a group of processes of its own, which ends with this one."""
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", uri),
    ]
    if (file := sqlite_file(uri)) is not None:
        follow(file)
        command += ["--artifacts-destination", str(file.absolute().parent / ARTIFACTS)]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        command, env={**os.environ, **quiet}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        address = f"http://{HOST}:{port}"
        _say("starting MLflow ...")
        _wait(server, f"{address}/health")
        _say(
            f"MLflow: {address}/{page}\n{_LOOK}\nCtrl-C ends it. From elsewhere: ssh -L {port}:{HOST}:{port} THIS_MACHINE"
        )
        while server.poll() is None:
            _drain(server)
        raise ConfigError(
            f"MLflow's server ended by itself, with {server.returncode}; the port may be taken: PORT=5001"
        )
    except KeyboardInterrupt:
        return 0
    finally:
        _end(server)


def _port(text: str) -> int:
    """Raises ConfigError where nothing can listen there."""
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ConfigError(f"PORT={text}: expected a number from 1 to 65535, e.g. PORT=5000")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(text)))
        except OSError as error:
            raise ConfigError(
                f"PORT={text}: {error.strerror} on {HOST}; give another, e.g. PORT={int(text) % 65535 + 1}"
            ) from error
    return int(text)


def _is_run(folder: Path) -> bool:
    return (folder / _RUN_FILE).is_file() or (folder / _CONFIG_FILE).is_file()


def _setting(run: Path) -> str | None:
    """``tracking.uri`` of the run's own config."""
    try:
        settings: Any = yaml.safe_load(read_inside(run / _CONFIG_FILE, run))
        uri = settings["tracking"]["uri"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
        return None
    return uri if isinstance(uri, str) else None


def _page(run: Path) -> str:
    try:
        known = json.loads(read_inside(run / _RUN_FILE, run))
        return f"#/experiments/{known['experiment_id']}/runs/{known['run_id']}?{_VIEW}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"#/experiments?{_VIEW}"


def _wait(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    problem = b"" if server.stderr is None or server.poll() is None else server.stderr.read()
    lines = problem.decode(errors="replace").strip().splitlines()
    raise ConfigError(f"MLflow's server did not start: {lines[-1] if lines else f'no answer in {START_S:.0f} s'}")


def _drain(server: subprocess.Popen[bytes]) -> None:
    """A pipe that nobody reads would stop the server."""
    if server.stderr is None or not server.stderr.readline():
        time.sleep(0.2)


def _end(server: subprocess.Popen[bytes]) -> None:
    """The server and the workers that it started: a group of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            return
        try:
            server.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        _gone(server.pid)


def _gone(group: int) -> None:
    """Wait a moment for the rest of the group."""
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.05)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(said(text, lines=True), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

"""The first thing in every process of a run: its folder, its secrets, and how its stacks are read.

Standard library only: a submitted job imports this before it knows that anything else is installed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
from pathlib import Path

SECRETS_FILE = ".unigrpo-secrets.json"


def enter(folder: str, run_dir: Path, name: str) -> None:
    """Called first in every actor: relative paths and secrets are there what they are to the driver, and SIGUSR1 writes
    the actor's stacks to ``stacks_file``, also where the actor is stuck in foreign code."""
    if os.path.isdir(folder):
        os.chdir(folder)
        take_secrets(Path(folder))
    with contextlib.suppress(OSError):
        register_stacks(run_dir, name)


def take_secrets(folder: Path) -> None:
    """Put what ``submit --env`` sent into this process's environment. The file is for the owner alone from then on."""
    file = folder / SECRETS_FILE
    if not file.is_file():
        return
    file.chmod(0o600)
    os.environ.update({str(name): str(value) for name, value in json.loads(file.read_text("utf-8")).items()})


def register_stacks(run_dir: Path, name: str) -> None:
    """Let SIGUSR1 write all stacks of this process to ``stacks_file``, also while it is stuck in foreign code."""
    file = stacks_file(run_dir, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = file.open("w")
    handle.write(f"process {os.getpid()}\n")
    handle.flush()
    faulthandler.register(signal.SIGUSR1, handle)


def stacks_file(run_dir: Path, name: str) -> Path:
    return run_dir / "logs" / f"stacks-{name.replace(' ', '-')}.txt"

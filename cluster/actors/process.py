"""The first thing in every process of a run: its folder, its secrets, and how its stacks are read.

Standard library only: a submitted job imports this before it knows that anything else is installed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import re
import signal
from pathlib import Path

from rl.output.printable import LogFormatter
from rl.output.secrets import know, know_environment

SECRETS_FILE = ".unigrpo-secrets.json"
# The names that `submit --env` listed, with commas between them. The runtime environment of a submitted job has it, in every
# process of the job, and nothing else does: a file of that name in the folder of another run is not read.
LISTED = "UNIGRPO_JOB_ENV"
# What a program is loaded with, and where it looks for others.
NEVER = re.compile(
    r"(LD_|DYLD_|PYTHON|BASH_FUNC_|GLIBC_|MALLOC_).*|PATH|IFS|ENV|BASH_ENV|SHELLOPTS|PS4|GCONV_PATH|UNIGRPO_JOB_ENV"
)


def enter(folder: str, run_dir: Path, name: str) -> None:
    """Called first in every actor: relative paths and secrets are there what they are to the driver, and SIGUSR1 writes
    the actor's stacks to ``stacks_file``, also where the actor is stuck in foreign code."""
    if os.path.isdir(folder):
        os.chdir(folder)
        take_secrets(Path(folder))
    know_environment()
    if logging.lastResort is not None:  # what an actor warns of goes to Ray's logs
        logging.lastResort.setFormatter(LogFormatter("%(levelname)s %(name)s: %(message)s"))
    with contextlib.suppress(OSError):
        register_stacks(run_dir, name)


def take_secrets(folder: Path) -> None:
    """In a submitted job, put what ``submit --env`` listed and sent into this process's environment: those names and no other.
    The file is for the owner alone from then on."""
    file = folder / SECRETS_FILE
    names = [name for name in os.environ.get(LISTED, "").split(",") if name and not NEVER.fullmatch(name)]
    if not names or file.is_symlink() or not file.is_file():
        return
    file.chmod(0o600)
    sent = json.loads(file.read_text("utf-8"))
    for name in names:
        if isinstance(value := sent.get(name), str):
            know(value)
            os.environ[name] = value


def register_stacks(run_dir: Path, name: str) -> None:
    """Let SIGUSR1 write all stacks of this process to ``stacks_file``, also while it is stuck in foreign code."""
    file = stacks_file(run_dir, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = file.open("w")
    handle.write(recorded(os.getpid()))
    handle.flush()
    faulthandler.register(signal.SIGUSR1, handle)


def recorded(pid: int) -> str:
    """The first line of a file of stacks: which process it is, by its number and the moment of its start, of this boot. Another
    one has the same number later, but not both."""
    return f"process {pid}, started {start_of(pid)}\n"


def start_of(pid: int) -> str:
    """When a process started: the system's boot, and clock ticks since then. ``gone`` where there is none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}+{Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"
    except (OSError, IndexError):
        return "gone"


def stacks_file(run_dir: Path, name: str) -> Path:
    return run_dir / "logs" / f"stacks-{name.replace(' ', '-')}.txt"

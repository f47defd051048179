"""``unigrpo bench``: hands over to the measurements of a checkout. They compare with peers, and are not in the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster import console
from rl.errors import ConfigError

CHECKOUT = Path(__file__).parents[2]


def run(arguments: Sequence[str], usage: Callable[[], str], checkout: Path = CHECKOUT) -> int:
    """The exit code of ``python -m benchmarks ARGUMENTS``. Raises ConfigError where this is an installed wheel."""
    if not (checkout / "benchmarks" / "__main__.py").is_file():
        if "--help" in arguments:
            print(usage())
            return console.OK
        raise ConfigError(
            "bench: the measurements are not in the wheel; clone the repository, run `make setup` there, then "
            f"`.venv/bin/unigrpo bench {' '.join(arguments)}`".rstrip()
        )
    path = os.pathsep.join(filter(None, (str(checkout), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode

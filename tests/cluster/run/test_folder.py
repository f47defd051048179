"""One run a folder, at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.run.folder import lock_folder
from rl.errors import ConfigError

HOLD = """
import sys
from pathlib import Path
from cluster.run.folder import lock_folder
lock_folder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_one_runs_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=rf"process {other.pid} on .* works in it; wait for it, or .*name=NAME"):
            lock_folder(tmp_path)
        other.kill()
    lock_folder(tmp_path)
    lock_folder(tmp_path)  # its own: a run evaluates in the folder that it trains in

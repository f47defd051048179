"""Files that are whole or absent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rl.checkpoints.files import new_aside, write_whole

KILLED = """
import os, pathlib, sys
from rl.checkpoints.files import write_whole
write = pathlib.Path.write_text
def half(self, text, *rest):
    write(self, text[: len(text) // 2], *rest)
    os._exit(9)
pathlib.Path.write_text = half
write_whole(pathlib.Path(sys.argv[1]), "new and longer")
"""


def test_a_process_that_ends_while_it_writes_leaves_the_earlier_content(tmp_path: Path) -> None:
    file = tmp_path / "run" / "numbers.json"
    assert write_whole(file, "earlier") == file
    assert subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False).returncode == 9
    assert file.read_text() == "earlier"
    write_whole(file, "later")
    assert file.read_text() == "later"


def test_asides_are_numbered_in_order(tmp_path: Path) -> None:
    assert [new_aside(tmp_path).name for _ in range(3)] == ["set_aside_1", "set_aside_2", "set_aside_3"]

"""A package as pip would install it: one file, and the lines that name what it brings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def section(title: str) -> str:
    """A section of the pages about additions. The tests here use its code as it stands."""
    whole = "\n".join((ROOT / "docs" / name).read_text() for name in ("extending.md", "extending_runs.md"))
    return whole.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def code_of(title: str) -> str:
    """The first Python block of a section."""
    return re.findall(r"^```python\n(.*?)^```$", section(title), re.DOTALL | re.MULTILINE)[0]


def make_package(folder: Path, name: str, code: str, brings: Mapping[str, str]) -> None:
    """brings: entry-point group -> its one line, such as ``NAME = MODULE:ATTRIBUTE``."""
    (folder / f"{name}.py").write_text(code)
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[{group}]\n{line}\n" for group, line in brings.items()]
    (information / "entry_points.txt").write_text("\n".join(lines))


def run_with(folder: Path, *command: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """``python COMMAND`` where that package is installed. Its standard output must be read by the caller."""
    paths = os.pathsep.join((str(folder), str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done

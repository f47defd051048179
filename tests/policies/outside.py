"""A package of somebody else's: modules and entry points in a folder, and a process that finds them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_with_package(folder: Path, modules: Mapping[str, str], entry_points: str, script: str) -> str:
    """What ``script`` prints, run in ``folder`` with the package installed. modules: name -> source."""
    site = folder / "site"
    information = site / "brought-1.dist-info"
    information.mkdir(parents=True)
    for name, source in modules.items():
        (site / f"{name}.py").write_text(source)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1\n")
    (information / "entry_points.txt").write_text(entry_points)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={"PYTHONPATH": f"{site}:{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

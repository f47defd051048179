"""A tracker from a package, made from nothing but the manual: a run's folder opens it beside the others."""

from __future__ import annotations

from pathlib import Path

from tests.outside.package import code_of, make_package, run_with

RUN = """
import io
from rich.console import Console
from cluster.run.folder import open_run
from rl.tracking.mlflow.page import About
from rl.config import build_config

config = build_config([], ["tracking.mlflow=false", "tracking.also=[lines]"])
tracker = open_run(config, About(config, "train"), Console(file=io.StringIO()), 1)
tracker.log(1, {"actor/skipped_updates": 0.0})
tracker.close("FINISHED")
"""


def test_a_tracker_of_a_package(tmp_path: Path) -> None:
    make_package(tmp_path, "lines", code_of("Add a tracker"), {"unigrpo.trackers": "lines = lines:Lines"})
    run_with(tmp_path, "-c", RUN)
    first, second = (tmp_path / "runs" / "run" / "lines.txt").read_text().splitlines()
    assert first.startswith('{"step": 1, "actor/skipped_updates": 0.0, "health/skipped_updates": 0.0')
    assert second == "health: healthy"

"""The plan's memory of a learner rank against the peak of a real one, for a few layouts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LAYOUTS = ("no reference", "LoRA, small micro-batch", "torch engine")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_plan_is_within_15_percent_of_the_peak(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.parity.plan_memory", "--only", *LAYOUTS, "--out", str(out)]
    subprocess.run(command, check=True, timeout=1700)
    found = json.loads(out.read_text())
    assert found.keys() == set(LAYOUTS)
    for name, figures in found.items():
        assert 0.85 <= figures["plan"] / figures["peak"] <= 1.15, f"{name}: {figures}"

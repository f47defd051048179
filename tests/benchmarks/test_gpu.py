"""The script for a machine with a GPU, which is run seldom, runs here at each test: tiny shapes, on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")  # has no wheels but for Linux on x86-64

ROOT = Path(__file__).parents[2]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", *options]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.long
def test_every_section_has_its_figures(tmp_path: Path) -> None:
    done = run("--out", str(tmp_path / "gpu.json"), "--dry", "--no-compile")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert "error" not in done.stdout and "skipped" not in done.stdout, done.stdout
    assert all(case["same_tokens"] == 1 and case["largest_difference"] < 1e-6 for case in found["kernel"])
    assert found["forward tiny"][0]["of_matmul"] > 0
    assert {"text", "text, dual cache", "images"} == set(found["rollouts tiny"])
    assert all(case["samples_per_hour"] > 0 for case in found["rollouts tiny"].values())
    learner = found["learner tiny"]
    assert learner["step_s"] > 0 and learner["planned_sum"] == sum(learner["planned_bytes"].values())
    out_of_time = run("--out", str(tmp_path / "none.json"), "--dry", "--minutes", "0")
    assert all("skipped" in line for line in out_of_time.stdout.splitlines()[:-1]), out_of_time.stdout


def test_without_a_gpu_the_real_sizes_are_refused(tmp_path: Path) -> None:
    done = run("--out", str(tmp_path / "gpu.json"))
    assert done.returncode == 1 and done.stderr.strip() == (
        "benchmarks.gpu: no GPU is visible here; --dry runs tiny shapes on the CPU"
    )

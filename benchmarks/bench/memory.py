"""(c) Peak memory of the whole tiny run: driver, Ray, actors, with evaluation and MLflow, from outside."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench.floors import assumed, memory_bytes
from benchmarks.bench.loop import RECIPE, row
from benchmarks.processes import tree
from cluster.actors.device import on_this_machine
from rl.config import load_config

POLL_S = 0.25
OURS = 5  # processes that import torch: driver, learner, two rollout workers, a reward worker
HELD_OUT = (
    "data.val=[{source: sudoku4x4, split: val, limit: 16, args: {blanks: [4, 8]}}, "
    "{source: scenes, split: val, limit: 16}]"
)
BARE = "import torch, time; torch.ones(1); print(flush=True); time.sleep(60)"


def measure(folder: Path, steps: int, overrides: Sequence[str] = ()) -> dict[str, Any]:
    settings = [f"steps={steps}", f"output_dir={folder}", "name=memory", HELD_OUT, "save_freq=0", *overrides]
    config = load_config(RECIPE, settings)
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", RECIPE, *settings]
    peak, by_name, samples = 0, {}, 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as driver:
        while driver.poll() is None:
            found = tree(driver.pid)
            total, samples = sum(each.pss for each in found), samples + 1
            if total > peak:
                peak, by_name = total, _by_name(found)
            time.sleep(POLL_S)
    if driver.returncode:
        raise RuntimeError(f"the run ended with code {driver.returncode}")
    bare = bare_bytes()
    return {
        "peak_bytes": peak, "by_process": by_name, "samples": samples, "bare_torch_bytes": bare,
        "floor_bytes": memory_bytes(on_this_machine(config), assumed(config), bare, OURS),
    }  # fmt: skip


def bare_bytes() -> float:
    """Of one process that has imported torch, beside a second one that shares its libraries."""
    started = [subprocess.Popen([sys.executable, "-c", BARE], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        return float(min(sum(each.pss for each in tree(process.pid)) for process in started))
    finally:
        for process in started:
            process.kill()
            process.communicate()


def rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    peak, floor = found["peak_bytes"] / 1e9, found["floor_bytes"] / 1e9
    return [row("peak memory of the whole run", peak, "GB", floor, floor / peak)]


def _by_name(found: Sequence[Any]) -> dict[str, int]:
    """Bytes of each kind of process, the largest first."""
    totals: Counter[str] = Counter()
    for each in found:
        totals[each.name] += each.pss
    return dict(totals.most_common())

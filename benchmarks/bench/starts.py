"""(b) From the command to the first rollout and to the first update, cold and warm, and where that time goes.

cold: no bytecode of any module is there, as after an install. warm: the same once more. The operating system's cache of files
is what it is. The floor is a Ray with one actor that has imported torch, and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench.loop import QUIET, row

ORDER = ("command", "python", "imports", "checks", "Ray", "actors", "weights", "first rollout", "first update")
BARE = """
import torch, ray
from cluster.run.private_ray import private_ray
with private_ray() as alone:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, **alone)
    class Bare:
        def ready(self):
            import torch
            return torch.ones(1).item()
    ray.get(ray.remote(Bare).remote().ready.remote())
    ray.shutdown()
"""


def measure(folder: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    bytecode = folder / "bytecode"
    found = {kind: _start(folder, kind, bytecode, overrides) for kind in ("cold", "warm")}
    began = time.time()
    subprocess.run([sys.executable, "-c", BARE], check=True, env=_environment(bytecode), stdout=subprocess.DEVNULL)
    return {**found, "bare_ray_s": time.time() - began}


def parts(marks: Mapping[str, float]) -> dict[str, float]:
    """Seconds from each mark to the next one that is there."""
    there = [name for name in ORDER if name in marks]
    return {later: marks[later] - marks[earlier] for earlier, later in zip(there, there[1:], strict=False)}


def _start(folder: Path, kind: str, bytecode: Path, overrides: Sequence[str]) -> dict[str, Any]:
    out, name = folder / f"{kind}.json", f"start-{kind}"
    settings = [*QUIET, f"output_dir={folder}", f"name={name}", *overrides]
    marks = {"command": time.time()}
    command = [sys.executable, "-m", "benchmarks.bench.started", str(out), *settings]
    subprocess.run(command, check=True, env=_environment(bytecode), stdout=subprocess.DEVNULL)
    marks |= json.loads(out.read_text())
    notes = (folder / name / "notes").glob("*.jsonl")
    events = [json.loads(line) for file in notes for line in file.read_text().splitlines()]
    for mark, what in (("first rollout", "sample"), ("first update", "learn")):
        marks[mark] = min(ended for _, done, _, _, ended in events if done == what)
    whole = {mark: marks[mark] - marks["command"] for mark in ("first rollout", "first update")}
    return {"seconds": whole, "parts": parts(marks)}


def _environment(bytecode: Path) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    made = []
    for kind in ("cold", "warm"):
        for mark, seconds in found[kind]["seconds"].items():
            made.append(row(f"to the {mark}, {kind}", seconds, "s", found["bare_ray_s"], found["bare_ray_s"] / seconds))
    return made

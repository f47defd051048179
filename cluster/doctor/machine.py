"""Versions, memory, disks and limits of this machine."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cluster.doctor.case import Machine
from cluster.doctor.check import Result, ok, red, skipped
from cluster.run.disk import free_bytes, in_units

PACKAGES = ("unigrpo", "torch", "ray", "deepspeed", "mlflow", "open-clip-torch", "omegaconf", "numpy")
INSTALL = "pip install -c constraints.txt ."
_GIB = 1024**3
LEAST_MEMORY, LEAST_DISK = 2 * _GIB, _GIB
LEAST_SHARED = _GIB  # Docker gives 64 MiB; Ray's object store then goes to a disk, which is slow
LEAST_FILES = 1024  # each actor of Ray has some 30 open
SHARED = Path("/dev/shm")
_TOGETHER_S = 180.0  # for importing transformers on a busy machine
# In a process of its own: a library that is built for another torch may end the process that loads it.
_TOGETHER = """
import torch
from rewards.pictures.torchvision_ops import ensure_torchvision_ops, library_loads
loads = library_loads()
ensure_torchvision_ops()
import torchvision
from transformers import BertForSequenceClassification, CLIPModel, pipeline
print(torch.__version__, torchvision.__version__, loads)
"""
_ONE_INDEX = "pip install -c constraints.txt torch torchvision transformers, torch and torchvision both for CPUs or both for CUDA"


def python(machine: Machine) -> Result:
    return ok(f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def package(name: str) -> Callable[[Machine], Result]:
    def look(machine: Machine) -> Result:
        try:
            return ok(metadata.version(name))
        except metadata.PackageNotFoundError:
            return ok("run from its folder") if name == "unigrpo" else red("MISSING", INSTALL)

    return look


def together(machine: Machine | None = None) -> Result:
    """Whether a reward can use transformers' models, which import torchvision, which must fit torch."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    command = [sys.executable, "-c", _TOGETHER]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOGETHER_S, env=environment)
    except subprocess.TimeoutExpired:
        return red(f"not imported within {_TOGETHER_S:g} s", "end what else runs here, and ask again")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return red(f"do not import together: {lines[-1][:200]}", _ONE_INDEX)
    torch_version, torchvision_version, loads = done.stdout.split()[-3:]
    if loads == "True":
        return ok("import together")
    found = f"import together; torchvision {torchvision_version} is built for another torch than {torch_version}"
    return ok(f"{found}, so its detection operators (nms) do not run. Where you need them: {_ONE_INDEX}")


def cores(machine: Machine) -> Result:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ok(f"{usable} usable of {os.cpu_count()}", usable=usable)


def memory(machine: Machine) -> Result:
    import psutil

    found = psutil.virtual_memory()
    text = f"{in_units(found.available)} free of {in_units(found.total)}"
    if found.available > LEAST_MEMORY:
        return ok(text, free=found.available, total=found.total)
    return red(text, f"end what else runs here: the smallest run takes {in_units(LEAST_MEMORY)}")


def disk(machine: Machine) -> Result:
    """Of the folder that runs go to."""
    output = Path(machine.config.output_dir)
    free = free_bytes(output)
    text = f"{in_units(free)} free for output_dir={output}"
    return ok(text, free=free) if free > LEAST_DISK else red(text, "make room, or give output_dir on another disk")


def shared_memory(machine: Machine) -> Result:
    """Where Ray keeps the objects that processes of one machine share."""
    if not SHARED.is_dir():
        return skipped(f"no {SHARED}: this system has another kind")
    found = shutil.disk_usage(SHARED)
    text = f"{in_units(found.free)} free of {in_units(found.total)} in {SHARED}"
    if found.free >= LEAST_SHARED:
        return ok(text, free=found.free, total=found.total)
    return red(
        text, "in Docker: --shm-size=8g; elsewhere: mount -o remount,size=8G /dev/shm, or remove old files in it"
    )


def open_files(machine: Machine) -> Result:
    """Ray raises the soft limit to the hard one itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = float("inf") if hard == resource.RLIM_INFINITY else hard
    text = f"{soft:,} now, {'no limit' if most == float('inf') else f'{hard:,} at most'}"
    return ok(text, soft=soft) if most >= LEAST_FILES else red(text, "ulimit -n 65536 in the shell that starts runs")


def sandbox(machine: Machine) -> Result:
    """For models' programs and answers; a run goes on without, unless rewards.sandbox=required."""
    from rewards.sandbox.kernel import offers

    return ok(offers.line(offers.found()))

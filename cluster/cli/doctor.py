"""One screen about this machine: what ``unigrpo`` would run on."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable

from rl.output.tables import PlainTable

PACKAGES = ("unigrpo", "torch", "ray", "deepspeed", "mlflow", "open-clip-torch", "omegaconf", "numpy")
_GIB = 1024**3
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


def report() -> tuple[PlainTable, bool]:
    """A table of checks, and whether everything that a run needs is there."""
    checks = [
        ("Python", lambda: (f"{platform.python_version()} on {platform.system()} {platform.machine()}", True)),
        *((name, lambda name=name: _package(name)) for name in PACKAGES),
        ("torch, torchvision, transformers", together),
        ("cores", _cores),
        ("memory", _memory),
        ("disk here", _disk),
        ("GPU", _gpu),
        ("C++ compiler", _compiler),
        ("ninja", _ninja),
    ]
    table = PlainTable(title="unigrpo doctor", title_justify="left")
    for name in ("", "found", ""):
        table.add_column(name)
    healthy = True
    for name, look in checks:
        found, good = _safely(look)
        healthy &= good
        table.add_row(name, found, "ok" if good else "MISSING", style=None if good else "red")
    return table, healthy


def _safely(look: Callable[[], tuple[str, bool]]) -> tuple[str, bool]:
    try:
        return look()
    except Exception as error:  # a broken installation must not hide the rest of the screen
        return f"{type(error).__name__}: {error}".splitlines()[0], False


def _package(name: str) -> tuple[str, bool]:
    try:
        return metadata.version(name), True
    except metadata.PackageNotFoundError:
        return ("run from its folder", True) if name == "unigrpo" else ("pip install -c constraints.txt .", False)


def together() -> tuple[str, bool]:
    """Whether a reward can use transformers' models, which import torchvision, which must fit torch."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    command = [sys.executable, "-c", _TOGETHER]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOGETHER_S, env=environment)
    except subprocess.TimeoutExpired:
        return f"not imported within {_TOGETHER_S:g} s", False
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return f"do not import together: {lines[-1][:200]}; {_ONE_INDEX}", False
    torch_version, torchvision_version, loads = done.stdout.split()[-3:]
    if loads == "True":
        return "import together", True
    found = f"import together; torchvision {torchvision_version} is built for another torch than {torch_version}"
    return f"{found}, so its detection operators (nms) do not run. Where you need them: {_ONE_INDEX}", True


def _cores() -> tuple[str, bool]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{usable} usable of {os.cpu_count()}", True


def _memory() -> tuple[str, bool]:
    import psutil

    memory = psutil.virtual_memory()
    return f"{memory.available / _GIB:.1f} GiB free of {memory.total / _GIB:.1f} GiB", memory.available > 2 * _GIB


def _disk() -> tuple[str, bool]:
    free = shutil.disk_usage(".").free
    return f"{free / _GIB:.1f} GiB free", free > _GIB


def _gpu() -> tuple[str, bool]:
    import torch

    if not torch.cuda.is_available():
        return "none; policy.device=cpu", True
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{len(names)} x {names[0]}, CUDA {torch.version.cuda}", True


def _compiler() -> tuple[str, bool]:
    """DeepSpeed builds a small extension the first time that it runs."""
    path = shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")
    if path is None:
        return "none on the PATH: install your build tools, DeepSpeed needs them (or learner.engine=torch)", False
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True)
    return answer.stdout.splitlines()[0], True


def _ninja() -> tuple[str, bool]:
    try:
        return metadata.version("ninja"), True
    except metadata.PackageNotFoundError:
        path = shutil.which("ninja")
        return path or "none: DeepSpeed builds with it, pip install ninja", path is not None

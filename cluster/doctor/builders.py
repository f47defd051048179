"""What compiles: DeepSpeed builds a small extension the first time that it runs."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import shutil
import subprocess

from cluster.doctor.case import Machine
from cluster.doctor.check import Result, ok, red


def compiler(machine: Machine) -> Result:
    path = shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")
    if path is None:
        return red(
            "none on the PATH", "install your system's build tools (DeepSpeed needs them), or learner.engine=torch"
        )
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True)
    return ok(answer.stdout.splitlines()[0])


def ninja(machine: Machine) -> Result:
    try:
        return ok(metadata.version("ninja"))
    except metadata.PackageNotFoundError:
        path = shutil.which("ninja")
        return red("none: DeepSpeed builds with it", "pip install ninja") if path is None else ok(path)

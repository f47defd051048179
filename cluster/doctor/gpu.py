"""GPUs, and whether their driver fits the CUDA that torch was built for."""

from __future__ import annotations

import shutil
import subprocess

from cluster.doctor.case import Machine
from cluster.doctor.check import Result, ok, red, skipped

# CUDA's major version -> the oldest driver for Linux that it runs on, with minor version compatibility.
# NVIDIA, CUDA Toolkit Release Notes, "CUDA Toolkit and Minimum Required Driver Version".
LEAST_DRIVER = {11: (450, 80), 12: (525, 60), 13: (580, 65)}
ASK = ("nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader")
OTHER_TORCH = "https://pytorch.org/get-started/locally"


def devices(machine: Machine) -> Result:
    import torch

    if not torch.cuda.is_available():
        return ok("none that torch can use; policy.device=cpu", count=0)
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ok(f"{len(names)} x {names[0]}, CUDA {torch.version.cuda}", count=len(names))


def driver(machine: Machine) -> Result:
    """A GPU that is there and cannot be used is red; none is none."""
    import torch

    found = installed()
    if found is None:
        return skipped("no nvidia-smi on the PATH, or no GPU of NVIDIA's")
    return judge(*found, torch.version.cuda, torch.cuda.is_available())


def installed() -> tuple[str, str] | None:
    """The driver's version and the first GPU's name; None where there is none."""
    if shutil.which(ASK[0]) is None:
        return None
    answer = subprocess.run(ASK, capture_output=True, text=True, timeout=30)
    lines = answer.stdout.strip().splitlines()
    if answer.returncode or not lines or "," not in lines[0]:
        return None
    version, _, name = lines[0].partition(",")
    return version.strip(), name.strip()


def judge(version: str, name: str, cuda: str | None, usable: bool) -> Result:
    """cuda: what torch is built for, None for CPUs. usable: whether torch finds the GPU."""
    text = f"{name}, driver {version}"
    if cuda is None:
        return red(f"{text}, but this torch is built for CPUs", f"install torch for CUDA, see {OTHER_TORCH}")
    least = LEAST_DRIVER.get(int(cuda.partition(".")[0]))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if least is not None and numbers < least:
        wanted = ".".join(map(str, least))
        return red(
            f"{text}: too old for torch's CUDA {cuda}, which needs {wanted}",
            f"update the driver to {wanted} or newer, or install torch for an older CUDA, see {OTHER_TORCH}",
        )
    if not usable:
        return red(
            f"{text} fits CUDA {cuda}, but torch finds no GPU",
            "look at CUDA_VISIBLE_DEVICES, and in a container at --gpus all",
        )
    return ok(f"{text} fits CUDA {cuda}", driver=version, cuda=cuda)

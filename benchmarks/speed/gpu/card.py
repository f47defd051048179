"""One device: its clock, its memory, what it reaches, and the policies that are measured on it."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable
from importlib import metadata
from statistics import median
from typing import Any

import torch

from benchmarks.policy import FIRST_PLAIN, bench_policy
from benchmarks.speed.gpu.work import Work
from cluster.plan.seconds import DEVICES, Device
from policies.policy import MaskedDiffusionPolicy

PACKAGES = ("torch", "triton", "deepspeed", "numpy", "safetensors", "tokenizers")


class Card:
    """device: ``cuda:0`` or ``cpu``. Seconds are of the wall, between two waits for the device."""

    def __init__(self, work: Work, device: str, dtype: torch.dtype) -> None:
        self.work, self.device, self.dtype = work, device, dtype

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def policy(self, name: str) -> MaskedDiffusionPolicy:
        size = self.work.models[name]
        return bench_policy(size, size.vocabulary, codebook=self.work.codebook, device=self.device, dtype=self.dtype)

    def ids(self, batch: int, length: int, vocabulary: int) -> torch.Tensor:
        generator = torch.Generator(self.device).manual_seed(1)
        return torch.randint(FIRST_PLAIN, vocabulary, (batch, length), device=self.device, generator=generator)

    def seconds(self, work: Callable[[], object], repeats: int | None = None) -> float:
        """One warm-up, then the median."""
        turns = [self.once(work) for _ in range(1 + (repeats or self.work.repeats))]
        return median(turns[1:])

    def once(self, work: Callable[[], object]) -> float:
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    def wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def reset_peak(self) -> None:
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_bytes(self) -> int | None:
        """Of tensors, since ``reset_peak``; None without a GPU."""
        return torch.cuda.max_memory_allocated() if self.on_gpu else None


def machine(device: str) -> dict[str, Any]:
    """Card and versions."""
    found: dict[str, Any] = {
        "device": "CPU", "memory_bytes": None, "driver": None, "cuda": torch.version.cuda, "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }  # fmt: skip
    if device.startswith("cuda"):
        found |= {
            "device": torch.cuda.get_device_name(),
            "memory_bytes": torch.cuda.get_device_properties(0).total_memory,
            "driver": _driver(),
        }
    return found


def known_card(name: str) -> Device:
    """What the vendor says of the card of this name; of an H100 where it is none that is known."""
    return next((card for key, card in DEVICES.items() if key in name.lower()), DEVICES["h100"])


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return said.splitlines()[0].strip() if said.strip() else None

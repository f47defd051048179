"""What a node does: shares and bytes of its processor, memory, disk and GPUs, as MLflow's page of system metrics shows them."""

from __future__ import annotations

import importlib
import platform
import re
import socket
from pathlib import Path
from typing import Any

import psutil

FIRST_S = 0.1
_MB = 1_000_000
_DRIVER = Path("/proc/driver/nvidia/version")


class Node:
    """This node, under its host's name or another. ``sample`` gives ``system/{node}/...``; shares are since the last
    call, the first of 0.1 s."""

    def __init__(self, name: str = "") -> None:
        self.name = re.sub(r"[^\w.-]", "-", name or socket.gethostname()) or "node"
        self._gpus = _gpus()
        self._first = True

    def sample(self) -> dict[str, float]:
        memory, network = psutil.virtual_memory(), psutil.net_io_counters()
        disk = psutil.disk_usage("/")
        busy = psutil.cpu_percent(FIRST_S if self._first else None)  # without a first span, the first reading is 0
        self._first = False
        values = {
            "cpu_utilization_percentage": busy,
            "system_memory_usage_megabytes": memory.used / _MB,
            "system_memory_usage_percentage": memory.percent,
            "disk_usage_percentage": disk.percent,
            "network_receive_megabytes": network.bytes_recv / _MB,
            "network_transmit_megabytes": network.bytes_sent / _MB,
        }
        for index, gpu in enumerate(self._gpus):
            values |= {f"gpu_{index}_{name}": value for name, value in _gpu(gpu).items()}
        return {f"system/{self.name}/{name}": float(value) for name, value in values.items()}


def _gpus() -> list[Any]:
    """Handles of the GPUs; none where there is no driver, or no library that asks it."""
    try:
        pynvml = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # the library has an error class a cause; without GPUs there is nothing to show
        return []


def _gpu(handle: Any) -> dict[str, float]:
    pynvml = importlib.import_module("pynvml")
    try:
        memory, rates = pynvml.nvmlDeviceGetMemoryInfo(handle), pynvml.nvmlDeviceGetUtilizationRates(handle)
        return {
            "utilization_percentage": float(rates.gpu),
            "memory_usage_megabytes": memory.used / _MB,
            "memory_usage_percentage": 100 * memory.used / memory.total,
            "power_usage_watts": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        }
    except Exception:  # a MIG slice tells less
        return {}


def device() -> dict[str, str]:
    """The processor or GPUs of this node and their driver, in words."""
    import torch

    found = {"device": f"{psutil.cpu_count()} x {_processor()}"}
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        found["device"] = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
        found["driver"] = _driver()
    return found


def _driver() -> str:
    try:
        version = re.search(r"Module\s+([\d.]+)", _DRIVER.read_text())
    except OSError:
        version = None
    import torch

    return f"NVIDIA {version[1] if version else '?'}, CUDA {torch.version.cuda}"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()

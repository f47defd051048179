"""Whether what a run leaves fits on its disk, found out before it starts."""

from __future__ import annotations

import shutil
from math import prod
from pathlib import Path

from cluster.actors.device import on_this_machine
from rl.config import Config
from rl.errors import ConfigError

MOMENTS = 2  # AdamW keeps two numbers for each weight that it trains; checkpoints hold them unquantised
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def check_space(config: Config, folder: Path, *, trains: bool = True) -> None:
    """That a checkpoint and the trained policy, which is written beside it, fit. folder: the policy's. Raises ConfigError.

    A bound from below: of a LoRA run's checkpoints, which hold the adapter alone, nothing is counted. A disk that is
    filled by others later is met while the run goes on: a checkpoint that cannot be written is a warning.
    """
    import torch

    from policies.files.checkpoints import weight_shapes

    weights = sum(map(prod, weight_shapes(folder))) * getattr(torch, on_this_machine(config).policy.dtype).itemsize
    adapter = trains and (config.learner.lora.rank or config.learner.lora.path is not None)
    checkpoint = 0 if adapter else (1 + MOMENTS) * weights
    policy = 0 if (config.run_dir / "policy").is_dir() else weights
    free = free_bytes(config.run_dir)
    if free < checkpoint + policy:
        parts = [
            f"a checkpoint of {in_units(checkpoint)}" * bool(checkpoint),
            f"the trained policy of {in_units(policy)}" * bool(policy),
        ]
        raise ConfigError(
            f"output_dir={config.output_dir}: {in_units(free)} are free on its disk; this run needs room for at least "
            f"{' and '.join(filter(None, parts))}; make room, or give output_dir on another disk"
        )


def free_bytes(folder: Path) -> int:
    """On the disk of a folder, which need not be there yet."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(there).free


def in_units(count: float) -> str:
    """``3.4 GiB``"""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.{int(unit > 0)}f} {_UNITS[unit]}"

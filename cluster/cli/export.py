"""``unigrpo export``: the policy of a run or of a checkpoint, in its family's own format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from cluster import console
from cluster.model.policy_folder import write_policy
from cluster.run.checkpoint import ADAPTER_FOLDER, find
from cluster.run.writable import folder_problem, reason
from policies.files.folders import read_config
from rl.checkpoints.manifest import STATE
from rl.errors import CheckpointError, ConfigError


def export(source: Path, out: Path, best: str | None, mode: str, dtype: str | None, adapter: bool = False) -> int:
    """Write the folder that the authors' code, ``transformers`` and ``policy.path`` take.

    source  a run's folder: its newest whole checkpoint, or the best by a held-out metric; a ``global_step_N``; or a
            policy's folder, or its name on a hub
    best    held-out metric, such as val/text/score; None: the newest
    mode    max or min, of ``best``
    dtype   float32 or bfloat16; None: as it was saved
    adapter  the adapter alone, in PEFT's format; otherwise it is merged into its base

    Raises ConfigError, CheckpointError or PolicyError. ``out`` is there when it is whole, or not at all.
    """
    if mode not in ("max", "min"):
        raise ConfigError(f"--mode {mode}: allowed: max, min")
    beside = _check_out(out)
    checkpoint = find(source, best, mode)
    shutil.rmtree(beside, ignore_errors=True)
    try:
        if adapter:
            _copy_adapter(checkpoint, beside)
        else:
            write_policy(checkpoint, beside, dtype)
        if out.is_dir():
            out.rmdir()
        beside.rename(out)
    except OSError as error:
        raise CheckpointError(f"--out {out}: cannot be written: {reason(error)}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    console.show(
        f"{out}: {'adapter' if adapter else read_config(out)['model_type']}, from {checkpoint}{_steps(checkpoint)}"
    )
    return console.OK


def _check_out(out: Path) -> Path:
    """The folder that becomes ``out`` once it is whole. Raises ConfigError unless both can be made, and ``out`` is empty."""
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"--out {out}: is there already; give a new folder")
        if not out.parent.is_dir():
            raise ConfigError(f"--out {out}: no such folder: {out.parent}; make it first")
        beside = out.absolute().with_name(f".unfinished_{out.absolute().name}")
        problem = folder_problem(out) or folder_problem(beside)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written: {reason(error)}; give another folder") from error
    if problem:
        raise ConfigError(f"--out {out}: cannot be written: {problem}; give another folder")
    return beside


def _copy_adapter(checkpoint: Path, folder: Path) -> None:
    if not (checkpoint / ADAPTER_FOLDER).is_dir():
        raise ConfigError(f"--adapter: {checkpoint} has none: its run trained all weights; leave --adapter out")
    shutil.copytree(checkpoint / ADAPTER_FOLDER, folder)


def _steps(checkpoint: Path) -> str:
    state = checkpoint / STATE
    return f" (weights {json.loads(state.read_text())['weight_version']})" if state.is_file() else ""

"""Which checkpoint or policy is meant by the folder of a run, of a checkpoint, of an adapter or of a policy."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from cluster import console
from policies.files.adapters import CONFIG_FILE as ADAPTER_FILE
from policies.files.folders import find_policy
from policies.files.strict_json import read_json
from rl.checkpoints.folder import newest_whole, step_of, steps_in
from rl.checkpoints.manifest import STATE, damage
from rl.checkpoints.ratings import Ratings
from rl.config import Config
from rl.errors import CheckpointError, ConfigError, PolicyError
from rl.hub.names import hub_name

POLICY_FOLDER, ADAPTER_FOLDER = "policy", "adapter"


def with_policy(config: Config) -> Config:
    """``policy.path`` as a policy's folder, with ``learner.lora.path`` where an adapter is to be added in.

    It may be the folder of a run (its newest whole checkpoint), of a checkpoint (``global_step_N``), or of a LoRA adapter in
    PEFT's format, whose config names its base. Everything else is left as it is, such as a name.

    Raises CheckpointError, ConfigError or PolicyError.
    """
    given = Path(config.policy.path)
    if not os.path.isdir(given) or (given / "config.json").is_file():
        return config
    if (given / ADAPTER_FILE).is_file():
        return _adapted(config, _base_of(given), given)
    if step_of(given) < 0 and not steps_in(given / "checkpoints") and not (given / POLICY_FOLDER).is_dir():
        return config  # no such folder of ours: what checks a policy says what is missing
    found = find(given)
    if (found / ADAPTER_FOLDER).is_dir():
        saved = json.loads((found / STATE).read_text("utf-8"))["config"]["policy"]
        return _adapted(config, saved["path"], found / ADAPTER_FOLDER)
    path = found / POLICY_FOLDER if (found / STATE).is_file() else found
    return replace(config, policy=replace(config.policy, path=str(path)))


def _adapted(config: Config, base: str, adapter: Path) -> Config:
    learner = replace(config.learner, lora=replace(config.learner.lora, path=str(adapter)))
    return replace(config, policy=replace(config.policy, path=base), learner=learner)


def _base_of(adapter: Path) -> str:
    file = adapter / ADAPTER_FILE
    settings = read_json(file)
    base = settings.get("base_model_name_or_path") if isinstance(settings, dict) else None
    if not isinstance(base, str) or not base:
        raise PolicyError(
            f"{file}: it names no base (base_model_name_or_path); give policy.path=BASE learner.lora.path={adapter}"
        )
    return base


def find(source: Path, best: str | None = None, mode: str = "max") -> Path:
    """The whole checkpoint, or the policy's folder, that is meant. Raises CheckpointError or ConfigError."""
    if step_of(source) >= 0:
        problem = damage(source)
        if problem:
            raise CheckpointError(f"{source}: {problem}; give another checkpoint, or its run's folder")
        return source
    checkpoints = source / "checkpoints"
    if steps_in(checkpoints):
        return _best(checkpoints, best, mode) if best else _newest(checkpoints)
    for folder in (source, source / POLICY_FOLDER):  # a run of sft need not have checkpoints
        if (folder / "config.json").is_file():
            return folder
    if hub_name(str(source)) is not None:
        return find_policy(source)
    raise ConfigError(
        f"{source}: no run, checkpoint or policy; give a run's folder, a global_step_N in it, or a policy's name on a hub"
    )


def _newest(checkpoints: Path) -> Path:
    found, skipped = newest_whole(checkpoints)
    for folder, problem in skipped:
        console.show(f"passed over {folder}: {problem}")
    if found is None:
        raise CheckpointError(f"{checkpoints}: no whole checkpoint in it")
    return found


def _best(checkpoints: Path, metric: str, mode: str) -> Path:
    ratings, folders = Ratings(checkpoints), dict(steps_in(checkpoints))
    for step in ratings.best(folders, metric, mode, len(folders)):
        problem = damage(folders[step])
        if not problem:
            return folders[step]
        console.show(f"passed over {folders[step]}: {problem}")
    known = sorted({name for values in ratings.read().values() for name in values})
    raise ConfigError(
        f"--best {metric}: no whole checkpoint in {checkpoints} has it; measured were: {', '.join(known) or 'none'}"
    )

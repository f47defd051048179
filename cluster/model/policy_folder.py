"""The policy of a checkpoint as a folder that ``load_policy`` takes, an adapter merged into its base."""

from __future__ import annotations

import json
from pathlib import Path

from cluster.run.checkpoint import ADAPTER_FOLDER, POLICY_FOLDER
from rl.checkpoints.manifest import STATE
from rl.config.device import AUTO


def write_policy(source: Path, folder: Path, dtype: str | None) -> None:
    """The policy's folder of a checkpoint, or a policy's folder, copied; through memory where the dtype is another."""
    from policies import load_policy
    from policies.files.checkpoints import check_policy
    from policies.files.copies import copy_policy

    saved = source / POLICY_FOLDER if (source / STATE).is_file() else source
    if (source / ADAPTER_FOLDER).is_dir():
        _merge(source, folder, dtype)
    elif dtype is None:
        copy_policy(saved, folder)
    else:
        load_policy(saved, dtype=dtype).save(folder)
    check_policy(folder)


def _merge(checkpoint: Path, folder: Path, dtype: str | None) -> None:
    """The base that the run started from, with the checkpoint's adapter added in."""
    from policies import load_policy, lora

    policy_settings = json.loads((checkpoint / STATE).read_text())["config"]["policy"]
    dtype = dtype or (None if policy_settings["dtype"] == AUTO else policy_settings["dtype"])
    base, adapted = (load_policy(policy_settings["path"], dtype=dtype) for _ in range(2))
    lora.load_adapter(adapted, checkpoint / ADAPTER_FOLDER)
    base.module.load_state_dict(lora.merged_state(adapted.module))
    base.save(folder)

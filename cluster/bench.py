"""``unigrpo bench``: run a measurement and write its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cluster import console
from rl.errors import ConfigError


def rollout(out: Path, repeats: int, vocabularies: Sequence[int] | None, groups: Sequence[int] | None) -> int:
    """Raises ConfigError where the file cannot be written: before the measurement, which takes minutes."""
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: no such folder: {out.parent}")
    from benchmarks.rollout import GROUPS, VOCABULARIES, run

    result = run(repeats, vocabularies=vocabularies or VOCABULARIES, groups=groups or GROUPS)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(out)
    return console.OK

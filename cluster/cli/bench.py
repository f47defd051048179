"""``unigrpo bench``: run a measurement and write its JSON, and a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster import console
from rl.errors import ConfigError


def rollout(
    out: Path,
    repeats: int,
    vocabularies: Sequence[int] | None,
    groups: Sequence[int] | None,
    only: Sequence[str] | None,
) -> int:
    """Raises ConfigError where the file cannot be written: before the measurement, which takes minutes."""
    check_folder("--out", out)
    from benchmarks.speed.rollout import CASES, GROUPS, VOCABULARIES, run

    for case in only or ():
        if case not in CASES:
            raise ConfigError(f"--case {case}: allowed: {', '.join(CASES)}")
    write(out, run(repeats, vocabularies=vocabularies or VOCABULARIES, groups=groups or GROUPS, only=only or CASES))
    return console.OK


def forward(out: Path, repeats: int, vocabularies: Sequence[int] | None) -> int:
    """Raises ConfigError where the file cannot be written: before the measurement."""
    check_folder("--out", out)
    from benchmarks.speed.forward import run

    write(out, run(repeats, vocabularies=vocabularies or (4096,)))
    return console.OK


def learner(out: Path, repeats: int, vocabularies: Sequence[int] | None) -> int:
    """Raises ConfigError where the file cannot be written: before the measurement, which takes minutes."""
    check_folder("--out", out)
    from benchmarks.speed.learner import VOCABULARIES, run

    write(out, run(repeats, vocabularies=vocabularies or VOCABULARIES))
    return console.OK


def estimators(out: Path, plot: Path | None, policy: str, prompts: int, draws: int, passes: int) -> int:
    """Raises ConfigError before the measurement: where a file cannot be written, and for a bad number of passes."""
    check_folder("--out", out)
    if plot is not None:
        check_folder("--plot", plot)
    if passes % 6:
        raise ConfigError(f"--passes {passes}: must be a multiple of 6, since masks come in pairs and in threes")
    from benchmarks.learning import estimators as bench

    result = bench.run(prompts, passes=passes, draws=draws, policy=policy)
    for modality in ("text", "image"):
        print(f"\n{modality}\n\n{bench.table(result, modality)}")
    if plot is not None:
        bench.plot(result, plot)
    write(out, result)
    return console.OK


def scale(out: Path, workers: Sequence[int] | None, seconds: float, groups: int, steps: int) -> int:
    """Raises ConfigError where the file cannot be written: before the measurement, which takes minutes."""
    check_folder("--out", out)
    from benchmarks.speed.scale import COUNTS, Shape, run

    write(out, run(workers or COUNTS, Shape(seconds=seconds, groups=groups, steps=steps)))
    return console.OK


def check_folder(option: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {path}: no such folder: {path.parent}; make it first")


def write(out: Path, result: Mapping[str, Any]) -> None:
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(out)

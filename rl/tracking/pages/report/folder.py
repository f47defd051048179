"""A run's folder, read for its report. It may be somebody else's, of another version, or no run at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rl.checkpoints.files import read_inside
from rl.config import Config
from rl.config.flat import flatten
from rl.errors import ConfigError, first_line
from rl.tracking.metrics_file import METRICS_FILE, Point, read_metrics
from rl.tracking.report import read_summary

CONFIG_FILE, COMMAND_FILE, RECIPE_FILE, LOG_FILE = "config.yaml", "command", "recipe", "log"
_MOST_BYTES = 16 * 1024 * 1024  # of a log, from its end; of a config
_MOST_SETTINGS, _MOST_BITS = 100_000, 1024
# What two runs of one config may differ in: who they are, where they write, how far they went.
_ITS_OWN = ("seed", "name", "output_dir", "resume_mode", "resume_path", "tracking.")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """settings: dotted names, lists taken apart. recipe: as it was given; empty where the folder does not say. log: lines."""

    path: Path
    name: str
    command: str
    recipe: str
    settings: Mapping[str, Any]
    points: Sequence[Point]
    summary: Mapping[str, Any] | None
    log: Sequence[str]

    @property
    def seed(self) -> Any:
        return self.settings.get("seed")

    @property
    def step(self) -> int:
        """The last that was logged."""
        return self.points[-1].step


@dataclass(frozen=True, slots=True)
class Family:
    """Runs that share their config apart from the seed, and the number of their colour."""

    label: str
    colour: int
    runs: Sequence[RunFolder]


def read_run(path: Path) -> RunFolder:
    """Raises ConfigError where there is no run, or one that has logged nothing."""
    if not path.is_dir():
        raise ConfigError(f"{path}: no such folder; give a run's folder, e.g. runs/tiny")
    if not (path / CONFIG_FILE).exists():
        raise ConfigError(f"{path}: no run: there is no {CONFIG_FILE} in it; give a run's folder, e.g. runs/tiny")
    settings = settings_of(_config(path))
    try:
        points = read_metrics(path)
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise ConfigError(f"{path / METRICS_FILE}: cannot be read: {first_line(error)}") from error
    if not points:
        raise ConfigError(
            f"{path}: this run has logged no number yet ({METRICS_FILE}); wait for its first step, or give another run"
        )
    summary = read_summary(path)
    return RunFolder(
        path=path,
        name=path.absolute().name,
        command=_words(path, COMMAND_FILE) or "train",
        recipe=_words(path, RECIPE_FILE),
        settings=settings,
        points=points,
        summary=summary if isinstance(summary, dict) else None,
        log=_lines(path),
    )


def settings_of(config: Mapping[str, Any] | Config) -> dict[str, Any]:
    tree = dataclasses.asdict(config) if isinstance(config, Config) else config
    return dict(flatten(tree, into_lists=True))


def families(runs: Sequence[RunFolder]) -> list[Family]:
    """In the order in which they were given."""
    found: dict[str, list[RunFolder]] = {}
    for run in runs:
        own = {key: value for key, value in run.settings.items() if not key.startswith(_ITS_OWN)}
        found.setdefault(repr((run.command, sorted(own.items()))), []).append(run)
    return [Family(_label(each), number, each) for number, each in enumerate(found.values())]


def _label(runs: Sequence[RunFolder]) -> str:
    if len(runs) == 1:
        return runs[0].name
    return f"{runs[0].name}, {len(runs)} runs: seeds {', '.join(str(run.seed) for run in runs)}"


def _config(folder: Path) -> Mapping[str, Any]:
    file = folder / CONFIG_FILE
    try:
        content: Any = yaml.safe_load(read_inside(file, folder, _MOST_BYTES).decode("utf-8"))
        _require_small(content)
    except (OSError, ValueError, RecursionError, OverflowError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read: {first_line(error)}; give a run's folder") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{file}: holds no settings of a run; give a run's folder, e.g. runs/tiny")
    return content


def _require_small(content: Any) -> None:
    """Raises ValueError. YAML can name one mapping in many places, and itself: a few lines then are a billion settings."""
    level, count = [content], 0
    while level:
        count += len(level)
        if count > _MOST_SETTINGS:
            raise ValueError(f"more than {_MOST_SETTINGS:,} settings")
        if any(isinstance(each, int) and each.bit_length() > _MOST_BITS for each in level):
            raise ValueError("a number of hundreds of digits")
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else _items(each))]


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _words(folder: Path, name: str) -> str:
    try:
        return read_inside(folder / name, folder)[:2000].decode("utf-8", errors="replace")[:500].strip()
    except OSError:
        return ""


def _lines(folder: Path) -> list[str]:
    try:
        content = read_inside(folder / LOG_FILE, folder, _MOST_BYTES, end=True)
    except OSError:
        return []
    return content.decode("utf-8", errors="replace").splitlines()

"""A run's folder, read for its report. It may be somebody else's, of another version, or no run at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rl.config import Config
from rl.config.flat import flatten
from rl.errors import ConfigError, first_line
from rl.tracking.metrics_file import METRICS_FILE, Point, read_metrics
from rl.tracking.report import read_summary

CONFIG_FILE, COMMAND_FILE, RECIPE_FILE, LOG_FILE = "config.yaml", "command", "recipe", "log"
_MOST_BYTES = 16 * 1024 * 1024  # of a log, from its end; of a config
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
    if not (path / CONFIG_FILE).is_file():
        raise ConfigError(f"{path}: no run: there is no {CONFIG_FILE} in it; give a run's folder, e.g. runs/tiny")
    settings = settings_of(_config(path / CONFIG_FILE))
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
        command=_words(path / COMMAND_FILE) or "train",
        recipe=_words(path / RECIPE_FILE),
        settings=settings,
        points=points,
        summary=summary if isinstance(summary, dict) else None,
        log=list(_lines(path / LOG_FILE)),
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


def _config(file: Path) -> Mapping[str, Any]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError("it is larger than 16 MiB")
        content: Any = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read: {first_line(error)}; give a run's folder") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{file}: holds no settings of a run; give a run's folder, e.g. runs/tiny")
    return content


def _words(file: Path) -> str:
    try:
        return file.read_text("utf-8", errors="replace")[:500].strip() if file.is_file() else ""
    except OSError:
        return ""


def _lines(file: Path) -> Iterator[str]:
    try:
        with file.open("rb") as content:
            content.seek(max(0, file.stat().st_size - _MOST_BYTES))
            yield from content.read(_MOST_BYTES).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return

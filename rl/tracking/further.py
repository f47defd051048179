"""Trackers beside MLflow and the run's folder, by name: ``tracking.also``. A package brings one by an entry point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rl.errors import ConfigError, UniGRPOError, one_line
from rl.protocols import Tracker
from rl.registry import Registry, Takes

MakeTracker = Callable[[Path, float], Tracker]
"""(the run's folder, the last step of an earlier process that belongs to this run; below 0: none, inf: all) -> its tracker."""

TRACKERS: Registry[MakeTracker] = Registry(
    "tracker",
    {"tensorboard": "rl.tracking.tensorboard:TensorBoardTracker"},
    group="unigrpo.trackers",
    member=Takes(2, "rl.protocols:Tracker"),
)


def check_names(names: Sequence[str]) -> None:
    """Raises ConfigError."""
    for name in names:
        TRACKERS.require("tracking.also", name)


def open_trackers(names: Sequence[str], run_dir: Path, keep_until: float) -> list[Tracker]:
    """Raises ConfigError for one that cannot be made, in one line."""
    trackers = []
    for name, make in zip(names, load_trackers(names), strict=True):
        try:
            trackers.append(make(run_dir, keep_until))
        except UniGRPOError:
            raise
        except (Exception, SystemExit) as error:  # a package's own code
            raise ConfigError(
                f"tracking.also={name}: cannot be opened: {one_line(error)}; fix it, or leave it out"
            ) from error
    return trackers


def load_trackers(names: Sequence[str]) -> list[MakeTracker]:
    """Raises ConfigError for one whose package is not on this machine."""
    return [TRACKERS[name] for name in names]

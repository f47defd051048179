"""A run's folder: whose it is, how far it got, and what listens to the run."""

from __future__ import annotations

import dataclasses
import fcntl
import logging
import math
import os
import socket
from collections.abc import Collection
from pathlib import Path
from typing import IO

from rich.console import Console

from cluster import console
from cluster.console import LOG_FILE
from cluster.run.about import decoders
from cluster.run.writable import folder_problem, reason
from rl.checkpoints.folder import steps_in
from rl.checkpoints.manifest import MANIFEST
from rl.checkpoints.ratings import Ratings
from rl.config import Config, load_config, to_yaml
from rl.config.flat import flatten
from rl.errors import ConfigError, UniGRPOError
from rl.health.tracker import HealthTracker
from rl.health.watch import Watch
from rl.prepare import advantages_of
from rl.protocols import Tracker
from rl.registry import taken_names
from rl.tracking import report
from rl.tracking.further import load_trackers, open_trackers
from rl.tracking.live_table import LiveTable
from rl.tracking.metrics_file import read_metrics
from rl.tracking.mlflow.page import About, parameters
from rl.tracking.mlflow_store import check_store
from rl.tracking.mlflow_tracker import Sampled
from rl.tracking.pages.album import Album
from rl.tracking.pages.report.folder import RECIPE_FILE
from rl.tracking.trackers import JsonlTracker, MlflowTracker, Trackers

COMMAND_FILE = "command"
CONFIG_FILE = "config.yaml"
LOCK_FILE = "lock"
_HOW_FAR = ("steps", "resume_mode", "resume_path")
_MOST_SHOWN = 4

_log = logging.getLogger(__name__)
_locks: dict[Path, IO[str]] = {}


def check_output(config: Config) -> None:
    """That the run's folder is there or can be made, and written to; leaves nothing behind. Raises ConfigError."""
    if problem := folder_problem(config.run_dir):
        raise ConfigError(_unwritable(config, problem))


def check_run(config: Config, command: str) -> None:
    """What ``open_run`` checks before it makes anything. Raises ConfigError."""
    _check_command(config.run_dir, command)
    load_trackers(config.tracking.also)
    if config.tracking.mlflow:
        check_store(
            config.run_dir,
            config.tracking.uri,
            config.tracking.experiment,
            resumes=command in ("train", "sft") and math.isinf(_history(config)),
            warn=lambda text: _log.warning(text),
            password_env=config.tracking.password_env,
        )


def open_run(config: Config, about: About, screen: Console, steps: int) -> Trackers:
    """The folder with its log and whole config, and the trackers of the run. about: what its page in MLflow says.

    Raises ConfigError where the folder holds a run of another command: an evaluation must not write over training; where
    it cannot be written to; and where MLflow's store cannot take the run.
    """
    command = about.command
    check_run(config, command)
    keep_until = _history(config) if command in ("train", "sft") else -1.0
    try:
        file, table = _make_folder(config, command, screen, steps, keep_until)
        (config.run_dir / RECIPE_FILE).write_text(about.recipe + "\n", "utf-8")
    except OSError as error:
        raise ConfigError(_unwritable(config, reason(error))) from error
    trackers: list[Tracker] = [file, table]
    trackers += open_trackers(config.tracking.also, config.run_dir, keep_until)
    if config.tracking.mlflow:
        resumes = _resumes(config)
        trackers.append(
            mlflow := MlflowTracker(
                config.run_dir,
                name=config.name,
                params={"command": command, **parameters(config)},
                experiment=config.tracking.experiment,
                uri=config.tracking.uri,
                password_env=config.tracking.password_env,
                resume=math.isinf(keep_until),
                about=dataclasses.replace(about, resumes=resumes),
                sampled=Sampled(
                    config.seed,
                    config.tracking.traces,
                    lambda group: advantages_of([group], config.learner).tolist(),
                    config.tracking.traces_freq,
                ),
                machine_s=config.tracking.machine_s,
                files=(CONFIG_FILE, LOG_FILE),
                album=_album(config, steps, fresh=math.isfinite(keep_until)),
            )
        )
        _evaluate_again(config, resumes, mlflow.cut_off)
    if command != "train" or not config.health.on:
        return Trackers(*trackers)
    watch = Watch.of(config.health, read_metrics(config.run_dir))  # after the file has set aside what is not this run's
    return Trackers(HealthTracker(Trackers(*trackers), watch, table.note))


def _evaluate_again(config: Config, resumes: str, cut_off: Collection[int]) -> None:
    """An evaluation that MLflow lacks is made again, if the run goes on from its step: the weights of others are gone."""
    number = resumes.removeprefix("global_step_")
    if number.isdecimal() and int(number) in cut_off:
        try:
            Ratings(config.run_dir / "checkpoints").drop(int(number))
        except OSError as error:
            _log.warning("the evaluation of step %s is not made again for MLflow: %s", number, error)


def _album(config: Config, steps: int, *, fresh: bool) -> Album:
    every = config.tracking.samples_freq
    return Album(config.run_dir, config.seed, lambda: decoders(config), every=every, last=steps, fresh=fresh)


def _make_folder(
    config: Config, command: str, screen: Console, steps: int, keep_until: float
) -> tuple[JsonlTracker, LiveTable]:
    """The folder's own trackers. Raises OSError, or ConfigError where another process works in it."""
    run_dir = config.run_dir
    lock_folder(run_dir)
    console.log_to(run_dir)
    if command in ("train", "sft"):
        console.when_interrupted(lambda: way_on(config))
    _log.info("unigrpo %s: %s", command, run_dir.absolute())
    for line in taken_names():
        _log.warning("%s", line)
    trackers = JsonlTracker(run_dir, keep_until=keep_until), LiveTable(steps, console=screen)
    (run_dir / COMMAND_FILE).write_text(command + "\n", "utf-8")
    (run_dir / CONFIG_FILE).write_text(to_yaml(config), "utf-8")
    (run_dir / report.SUMMARY_FILE).unlink(missing_ok=True)
    return trackers


def _unwritable(config: Config, problem: str) -> str:
    where = f"output_dir={config.output_dir}, name={config.name}"
    longest = 300
    if len(where) > longest:
        where = f"{where[:longest]}..."
    return f"{where}: the run's folder cannot be written to: {problem}; give another, e.g. output_dir=runs"


def way_on(config: Config) -> str:
    """What the same command would do, after a run that was interrupted. Looks at what was saved; checks no hashes."""
    saved = [step for step, folder in steps_in(config.run_dir / "checkpoints") if (folder / MANIFEST).is_file()]
    if not saved:
        return "no checkpoint was saved: the same command starts over"
    if config.resume_mode == "auto":
        return f"the same command goes on from step {max(saved)}"
    return f"step {max(saved)} is saved: the same command with resume_mode=auto goes on from it"


def already_finished(config: Config, screen: Console) -> bool:
    """Whether the training run in this folder has done all its steps; says so, and how to go on.

    Raises ConfigError where it did them with other settings.
    """
    summary = report.read_summary(config.run_dir)
    if summary is None or summary.get("command") != "train" or config.resume_mode != "auto":
        return False
    if summary["steps"] < config.steps:
        return False  # asked to go on
    done = f"{summary['steps']} step{'' if summary['steps'] == 1 else 's'}"
    if others := _other_settings(config):
        raise ConfigError(
            f"{config.run_dir}: this run finished its {done} with other settings, and nothing is left to train: {others}; give "
            "name=NEW for a new run, resume_mode=disable to start this one over, or its own settings and steps=N to go on"
        )
    screen.print(report.results_table(summary))
    screen.print(
        f"{config.run_dir} finished its {done} before. Start a new run with name=NAME, go on with "
        "steps=N, or start it over with resume_mode=disable.",
        markup=False,
        soft_wrap=True,
        highlight=False,
    )
    return True


def _other_settings(config: Config) -> str:
    """Settings that differ from those which the run in the folder had, but for how far it goes. Empty: none, or unknown."""
    try:
        had = load_config(config.run_dir / CONFIG_FILE)
    except (UniGRPOError, OSError):
        return ""  # of another version of this project
    before, now = (dict(flatten(dataclasses.asdict(each))) for each in (had, config))
    changed = [key for key in {**now, **before} if before.get(key) != now.get(key) and key not in _HOW_FAR]
    shown = [f"{key}={now.get(key)!r:.60} (it had {before.get(key)!r:.60})" for key in changed[:_MOST_SHOWN]]
    more = len(changed) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def lock_folder(run_dir: Path) -> None:
    """This process owns the folder until it ends, however it ends: the system gives the lock back. Raises ConfigError."""
    run_dir.mkdir(parents=True, exist_ok=True)
    path = (run_dir / LOCK_FILE).absolute()
    if path in _locks:
        return
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise ConfigError(
            f"{run_dir}: {file.read().strip()} works in it; wait for it, or give this run name=NAME"
        ) from error
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    _locks[path] = file  # closing the file would give the lock back


def _check_command(run_dir: Path, command: str) -> None:
    file = run_dir / COMMAND_FILE
    other = file.read_text("utf-8").strip() if file.is_file() else command
    if other != command:
        raise ConfigError(f"{run_dir}: holds a run of `unigrpo {other}`; give this one another name, e.g. name=new")


def _resumes(config: Config) -> str:
    """The checkpoint that a run goes on from; empty for a new run."""
    if config.resume_mode == "path":
        return str(config.resume_path)
    saved = [step for step, folder in steps_in(config.run_dir / "checkpoints") if (folder / MANIFEST).is_file()]
    return f"global_step_{max(saved)}" if saved and config.resume_mode == "auto" else ""


def _history(config: Config) -> float:
    """Up to which step the numbers of an earlier process belong to this run; see ``JsonlTracker``."""
    checkpoints = config.run_dir / "checkpoints"
    if config.resume_mode == "auto" and any(checkpoints.glob("global_step_*/manifest.json")):
        return math.inf
    if config.resume_mode == "path":
        start = Path(str(config.resume_path)).absolute()
        number = start.name.removeprefix("global_step_")
        if start.is_relative_to(checkpoints.absolute()) and number.isdigit():
            return float(number)
    return -1.0

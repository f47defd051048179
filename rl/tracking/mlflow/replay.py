"""``python -m rl.tracking.mlflow.replay RUN_FOLDER``: give MLflow what it could not take while a run ran."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from rl.config import load_config
from rl.errors import ConfigError, UniGRPOError
from rl.output.printable import said
from rl.tracking.mlflow.page import About, parameters
from rl.tracking.mlflow.spool import Spool
from rl.tracking.mlflow_store import check_store
from rl.tracking.mlflow_tracker import RUN_FILE, MlflowTracker

CONFIG_FILE, COMMAND_FILE, SUMMARY_FILE = "config.yaml", "command", "summary.json"


def main(words: Sequence[str] | None = None) -> int:
    """The exit code: 0 where nothing is left, 2 where the store or the folder is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m rl.tracking.mlflow.replay", description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s")
    try:
        return replay(parser.parse_args(words).run)
    except UniGRPOError as error:
        print(f"error: {said(error)}", file=sys.stderr)
        return 2


def replay(run_dir: Path) -> int:
    """Raises ConfigError where there is no run, or its store does not answer."""
    if not (run_dir / CONFIG_FILE).is_file():
        raise ConfigError(f"{run_dir}: no {CONFIG_FILE} in it; give a run's folder, e.g. runs/tiny")
    config = load_config(run_dir / CONFIG_FILE)
    tracking, waiting = config.tracking, Spool(run_dir.absolute(), keep=True)
    check_store(
        run_dir, tracking.uri, tracking.experiment, resumes=False, warn=_refuse, password_env=tracking.password_env
    )
    count, status = len(waiting), waiting.end() or ("FINISHED" if (run_dir / SUMMARY_FILE).is_file() else "KILLED")
    is_new = not (run_dir / RUN_FILE).is_file()  # the store never had it: its page is made now
    command = (run_dir / COMMAND_FILE).read_text("utf-8").strip() if (run_dir / COMMAND_FILE).is_file() else "train"
    argv = ("unigrpo", command, "--recipe", str(run_dir / CONFIG_FILE))
    tracker = MlflowTracker(
        run_dir,
        name=config.name,
        params={"command": command, **parameters(config)} if is_new else None,
        about=About(config, command, argv=argv) if is_new else None,
        experiment=tracking.experiment,
        uri=tracking.uri,
        password_env=tracking.password_env,
        resume=True,
        files=(CONFIG_FILE, SUMMARY_FILE, "log", "curves.png", "drawings.png"),
    )
    tracker.close(status)
    left = len(Spool(run_dir.absolute(), keep=True))
    print(
        f"{run_dir}: {count - left} of {count} waiting events written, and every number of metrics.jsonl; run {status}"
    )
    return 2 if left else 0


def _refuse(text: str) -> None:
    raise ConfigError(text)


if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m cluster.model RUN_FOLDER``: log the policies of a run that has ended, where that was off or went wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cluster.model.chosen import BOTH, OFF
from cluster.model.log import log_models
from rl.config import Config, load_config
from rl.config.checks import validate
from rl.errors import ConfigError, UniGRPOError
from rl.output.printable import said
from rl.output.secrets import know_environment

CONFIG_FILE, SUMMARY_FILE = "config.yaml", "summary.json"


def main(words: Sequence[str] | None = None) -> int:
    """The exit code: 0 where all is there, 2 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m cluster.model", description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--registered-model", help="a name to register under, in place of tracking.registered_model")
    given = parser.parse_args(words)
    know_environment()
    try:
        config = _config(given.run, given.registered_model)
        return 0 if log_models(config, lambda line: print(said(line))) else 2
    except UniGRPOError as error:
        print(f"error: {said(error)}", file=sys.stderr)
        return 2


def _config(run: Path, registered_model: str | None) -> Config:
    """Raises ConfigError where there is no run that has ended."""
    if not (run / CONFIG_FILE).is_file() or not (run / SUMMARY_FILE).is_file():
        raise ConfigError(
            f"{run}: no run that has ended ({CONFIG_FILE}, {SUMMARY_FILE}); give a run's folder, e.g. runs/tiny"
        )
    config = load_config(run / CONFIG_FILE)
    tracking = config.tracking
    tracking = replace(
        tracking,
        mlflow=True,
        log_model=BOTH if tracking.log_model == OFF else tracking.log_model,
        registered_model=registered_model or tracking.registered_model,
    )
    folder = run.absolute()  # it may have been moved
    config = replace(config, output_dir=str(folder.parent), name=folder.name, tracking=tracking)
    validate(config)
    return config


if __name__ == "__main__":
    raise SystemExit(main())

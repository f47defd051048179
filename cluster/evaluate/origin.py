"""The run that trained what is evaluated: found by the policy's folder, and linked with the evaluation in MLflow.

An evaluation is a run of its own beside the training run, in the same experiment. It is not nested under it: MLflow folds
nested runs away, and hides them where their parent is in another experiment or was deleted.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.model.stored import models_of
from cluster.run.folder import COMMAND_FILE, CONFIG_FILE
from rl.checkpoints.folder import step_of
from rl.config import Config, load_config
from rl.config.sections import TrackingConfig
from rl.errors import UniGRPOError, first_line
from rl.output.secrets import redact
from rl.protocols import Tracker
from rl.tracking.mlflow.client import Known, known_run, open_client
from rl.tracking.mlflow_address import store_uri
from rl.tracking.mlflow_names import clean_name
from rl.tracking.mlflow_store import within
from rl.tracking.report import read_summary

TRAINED_BY, STEP = "trained_by", "step"
LINK_S = 60.0  # for a store to take a few tags
_ABOVE = 4  # folders from a run's policy or adapter up to its own
_TRAINS = ("train", "sft")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Origin:
    """A training run. step: after how many steps the weights are; None where the folder does not say."""

    run_dir: Path
    known: Known
    step: int | None
    tracking: TrackingConfig

    @property
    def uri(self) -> str:
        """Of its store, whole."""
        return self.tracking.uri or store_uri(self.run_dir)

    def tags(self) -> dict[str, str]:
        step = {} if self.step is None else {STEP: str(self.step)}
        return {TRAINED_BY: self.known.run_id, "trained_by_name": self.run_dir.name, **step}


def origin_of(given: Config, found: Config) -> Origin | None:
    """given: the config with ``policy.path`` as it was typed; found: with the policy's own folder (``with_policy``).

    None for a policy that lies in no run's folder, or whose run never reached MLflow.
    """
    lora = found.learner.lora.path
    for path in (given.policy.path, lora, found.policy.path):
        if path is None or not os.path.isdir(path):
            continue
        whole = Path(path).absolute()
        for folder in (whole, *whole.parents)[: _ABOVE + 1]:
            known = known_run(folder)
            if known is not None and _command(folder) in _TRAINS:
                return Origin(folder, known, _step(folder, Path(lora or found.policy.path)), _tracking(folder))
    return None


def beside(config: Config, origin: Origin | None, overrides: Sequence[str]) -> Config:
    """The config with the training run's store and experiment, as far as neither was given."""
    if origin is None or not config.tracking.mlflow:
        return config
    plain, tracking = TrackingConfig(), config.tracking
    typed = {override.partition("=")[0].strip() for override in overrides}
    if tracking.experiment == plain.experiment and "tracking.experiment" not in typed:
        tracking = replace(tracking, experiment=origin.tracking.experiment)
    if tracking.uri is None and "tracking.uri" not in typed and origin.uri != store_uri(config.run_dir):
        tracking = replace(tracking, uri=origin.uri, password_env=origin.tracking.password_env)
    return replace(config, tracking=tracking)


def tag(tracker: Tracker, origin: Origin | None) -> None:
    """On the evaluation: which run trained its policy, and for how many steps."""
    for name, value in origin.tags().items() if origin is not None else ():
        tracker.tag(name, value)


def link_back(config: Config, origin: Origin | None, summary: Mapping[str, Any]) -> None:
    """On the training run: a tag with this evaluation's scores. On the evaluation: the MLflow model that it is of.

    Only where both are in one store. A store that is away is one warning.
    """
    known = known_run(config.run_dir)
    if origin is None or known is None or not config.tracking.mlflow:
        return
    if origin.uri != (config.tracking.uri or store_uri(config.run_dir)):
        return
    problem = attempt(lambda: _link_back(config, origin, known, summary))
    if problem:
        _log.warning("MLflow: run %s is not linked with this evaluation: %s", origin.known.run_id, problem)


def attempt(work: Callable[[], None]) -> str:
    """Why MLflow did not take it, in a line; empty where it did."""
    try:
        within(LINK_S, lambda: str(work()))
    except RuntimeError as error:
        return redact(first_line(error))
    return ""


def _link_back(config: Config, origin: Origin, known: Known, summary: Mapping[str, Any]) -> None:
    client = open_client(config.run_dir, config.tracking.uri, config.tracking.password_env)
    scores = [
        f"{task} {100 * pair['after']:.1f}" for task, pair in summary["tasks"].items() if pair["after"] is not None
    ]
    words = f"{', '.join(scores) or 'no score'}; run {known.run_id}"
    client.set_tag(origin.known.run_id, clean_name(f"evaluation {config.name}"), words)
    if origin.step is None:
        return
    from mlflow.entities import LoggedModelInput

    run_id, experiment = origin.known.run_id, origin.known.experiment_id
    models = [each for each in models_of(client, experiment, run_id, origin.step) if each.status == "READY"]
    if models:
        client.log_inputs(known.run_id, models=[LoggedModelInput(models[0].model_id)])


def _command(folder: Path) -> str:
    try:
        return (folder / COMMAND_FILE).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _step(run_dir: Path, policy: Path) -> int | None:
    """Of a checkpoint by its name; of the run's last policy by its summary."""
    named = [step for step in map(step_of, (policy, *policy.parents)) if step >= 0]
    if named:
        return named[0]
    summary = read_summary(run_dir)
    return int(summary["steps"]) if summary is not None and re.fullmatch(r"\d+", str(summary.get("steps"))) else None


def _tracking(run_dir: Path) -> TrackingConfig:
    """Of the training run, as its folder has it."""
    try:
        return load_config(run_dir / CONFIG_FILE).tracking
    except (UniGRPOError, OSError):
        return TrackingConfig()  # of another version of this project

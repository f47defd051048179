"""After a run: its policies as MLflow models. Whatever goes wrong is one line; the run is done, and stays whole."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cluster.model.chosen import OFF, Chosen, chosen
from cluster.model.policy_folder import write_policy
from cluster.model.stored import GB, log_once, register_once
from rl.checkpoints.files import write_whole
from rl.config import Config
from rl.errors import first_line
from rl.output.secrets import redact
from rl.tracking.mlflow.client import Known, known_run, open_client
from rl.tracking.mlflow_store import within

RECORD = "mlflow_models.json"
PATIENCE_S, SLOWEST = 600.0, 10e6  # seconds, and bytes of weights a second on top of them

Say = Callable[[str], None]


def log_models(config: Config, say: Say) -> bool:
    """Log and register what ``tracking.log_model`` asks for, once; the lines that come of it go to ``say``.

    Whether all of it is there. Raises nothing but an interruption.
    """
    wanted = chosen(config) if config.tracking.mlflow and config.tracking.log_model != OFF else []
    try:
        if not wanted or _is_done(config, wanted):
            return True
        known = known_run(config.run_dir)
        if known is None:
            raise LookupError("no run of this folder has reached MLflow")
        lines: list[str] = []
        found = within(_patience(wanted), lambda: str(_log_all(config, known, wanted, lines)))
        whole = found == str(True)
        if whole:
            _record(config, known, wanted)
    except Exception as error:  # a store has an error class a cause
        lines, whole = [f"MLflow model: not logged: {_told(error)}"], False
    for line in lines:
        say(line)
    if not whole:
        say(f"The run is whole without it. Once that is mended: python -m cluster.model {config.run_dir}")
    return whole


def _log_all(config: Config, known: Known, wanted: Sequence[Chosen], lines: list[str]) -> bool:
    tracking = config.tracking
    client = open_client(config.run_dir, tracking.uri, tracking.password_env)
    whole = True
    for one in wanted:
        words = f"MLflow model, {' and '.join(one.roles)} policy (step {one.step})"
        try:
            logged = _logged(client, known, config, one)
        except Exception as error:
            lines.append(f"{words}: not logged: {_told(error)}")
            whole = False
            continue
        size = f", {logged.copied / GB:.2f} GB copied" if logged.copied >= 1e7 else ""
        lines.append(f"{words}: models:/{logged.model_id}{size}")
        if tracking.registered_model is not None:
            try:
                lines[-1] += f", {register_once(client, config, known, one, logged.model_id)}"
            except Exception as error:
                lines.append(f"tracking.registered_model={tracking.registered_model}: not registered: {_told(error)}")
                whole = False
    return whole


def _logged(client: Any, known: Known, config: Config, one: Chosen) -> Any:
    if not one.adapted:
        return log_once(client, known, config, one, one.folder)
    with tempfile.TemporaryDirectory(
        dir=config.run_dir
    ) as beside:  # on the run's disk: there is room for weights, and links hold
        merged = Path(beside) / "policy"
        write_policy(one.folder, merged, None)
        return log_once(client, known, config, one, merged)


def _patience(wanted: Sequence[Chosen]) -> float:
    files = [file for one in wanted for file in one.folder.rglob("*.safetensors")]
    return PATIENCE_S + sum(file.stat().st_size for file in files) / SLOWEST


def _told(error: Exception) -> str:
    return redact(first_line(error) or type(error).__name__)


def _is_done(config: Config, wanted: Sequence[Chosen]) -> bool:
    """As far as the folder knows: the store is not asked, and MLflow not imported."""
    known = known_run(config.run_dir)
    try:
        return known is not None and json.loads((config.run_dir / RECORD).read_text("utf-8")) == _facts(
            config, known, wanted
        )
    except (OSError, ValueError):
        return False


def _record(config: Config, known: Known, wanted: Sequence[Chosen]) -> None:
    write_whole(config.run_dir / RECORD, json.dumps(_facts(config, known, wanted), indent=1))


def _facts(config: Config, known: Known, wanted: Sequence[Chosen]) -> dict[str, Any]:
    return {
        "run_id": known.run_id,
        "registered_model": config.tracking.registered_model,
        "steps": {str(one.step): list(one.roles) for one in wanted},
    }

"""A policy in MLflow's store: logged once a run and step, registered once, and its alias moved.

Weights go to the store without a copy where that can be: a store in files on the same disk gets hard links.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cluster.model.chosen import BEST, Chosen
from cluster.model.contents import Ids, weights_of, write_model
from rl.config import Config
from rl.errors import ConfigError
from rl.tracking.mlflow.client import Known

GB = 1e9
NAME = "policy"
_RUN, _STEP, _ROLES, _METRIC = "trained_by", "step", "roles", "best_metric"
_SERVERS = ("http", "https", "databricks", "databricks-uc", "")
_READY_S = 60  # for a registry to have a version ready


@dataclass(frozen=True, slots=True)
class Logged:
    """A model in the store. copied: bytes that this took there; 0 where it was there before, or is linked."""

    model_id: str
    copied: int


def log_once(client: Any, known: Known, config: Config, one: Chosen, policy: Path) -> Logged:
    """The run's model of this step, made where the store has none that is whole.

    policy: the folder with its weights. Raises ConfigError where more would be copied than ``tracking.log_model_gb`` allows, or
    what the store raises.
    """
    for found in models_of(client, known.experiment_id, known.run_id, one.step):
        if found.status == "READY":
            client.set_logged_model_tags(found.model_id, _tags(known, one))
            _show_on_page(client, known.run_id, found.model_id, one.step)
            return Logged(found.model_id, 0)
        client.delete_logged_model(found.model_id)  # a process was ended while it wrote
    weights = weights_of(policy)
    copied = _bytes_to_copy(client.get_experiment(known.experiment_id).artifact_location, weights)
    if copied > config.tracking.log_model_gb * GB:
        raise ConfigError(
            f"{copied / GB:.2f} GB of weights would be copied, and tracking.log_model_gb={config.tracking.log_model_gb:g} allows "
            "less; raise it, or set tracking.log_model=off"
        )
    params = {"policy.path": config.policy.path[:6000], "seed": str(config.seed), "step": str(one.step)}
    model = client.create_logged_model(
        known.experiment_id, NAME, known.run_id, tags=_tags(known, one), params=params, model_type="masked diffusion"
    )
    _write(client, config, policy, weights, Ids(known.run_id, model.model_id), model.artifact_location)
    client.finalize_logged_model(model.model_id, "READY")
    _show_on_page(client, known.run_id, model.model_id, one.step)
    return Logged(model.model_id, copied)


def models_of(client: Any, experiment_id: str, run_id: str, step: int) -> list[Any]:
    """The run's models of this step, also those that are not whole."""
    asked = f"tags.{_RUN} = '{run_id}' AND tags.{_STEP} = '{step}'"
    return list(client.search_logged_models([experiment_id], filter_string=asked))


def register_once(client: Any, config: Config, known: Known, one: Chosen, model_id: str) -> str:
    """The version of the model under ``tracking.registered_model``, in words. Its alias ``best`` moves where it is better.

    Raises what the registry raises.
    """
    name = str(config.tracking.registered_model)
    _make_registered(client, name)
    versions = client.search_model_versions(f"name='{name}' and run_id='{known.run_id}'")
    mine = [each for each in versions if (each.tags or {}).get(_STEP) == str(one.step)]
    if mine:
        version = str(mine[0].version)
        for key, value in _tags(known, one).items():
            client.set_model_version_tag(name, version, key, value)
    else:
        tags = {**_tags(known, one), **({} if config.best_metric is None else {_METRIC: config.best_metric})}
        source = _source(client, model_id)
        made = client.create_model_version(
            name, source, known.run_id, tags=tags, model_id=model_id, await_creation_for=_READY_S
        )
        version = str(made.version)
    said = f"{name}, version {version}"
    if BEST in one.roles and _is_better(client, config, name, one, version):
        client.set_registered_model_alias(name, BEST, version)
        said += f", alias {BEST}"
    return said


def _make_registered(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise


def _source(client: Any, model_id: str) -> str:
    """A server finds the model by its id. A database that is written to from here would look for it in MLflow's default store."""
    if urlsplit(client.tracking_uri).scheme in _SERVERS:
        return f"models:/{model_id}"
    return client.get_logged_model(model_id).artifact_location


def _is_better(client: Any, config: Config, name: str, one: Chosen, version: str) -> bool:
    """Than the version that has the alias. One that was rated by another metric, or not at all, gives it up."""
    metric = str(config.best_metric)
    holder = client.get_registered_model(name).aliases.get(BEST)
    if holder is None or str(holder) == version:
        return True
    tags = client.get_model_version(name, str(holder)).tags or {}
    try:
        before, now = float(tags[metric]), one.scores[metric]
    except (KeyError, ValueError):
        return True
    return now >= before if config.best_mode == "max" else now <= before


def _tags(known: Known, one: Chosen) -> dict[str, str]:
    """Which run and step, what it is to them, and its held-out scores."""
    scores = {name: repr(value) for name, value in one.scores.items()}
    return {_RUN: known.run_id, _STEP: str(one.step), _ROLES: ", ".join(one.roles), **scores}


def _show_on_page(client: Any, run_id: str, model_id: str, step: int) -> None:
    """As an output of the run, once."""
    from mlflow.entities import LoggedModelOutput

    shown = client.get_run(run_id).outputs
    if shown is None or model_id not in [each.model_id for each in shown.model_outputs]:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])


def _write(client: Any, config: Config, policy: Path, weights: Mapping[str, Path], ids: Ids, place: str) -> None:
    """Weights first; ``MLmodel`` is among what comes last."""
    local = _local(place)
    for name, file in weights.items():
        if local is None:
            client.log_model_artifact(ids.model_id, str(file), os.path.dirname(name))
        else:
            _link(file, local / name)
    with tempfile.TemporaryDirectory() as beside:
        folder = Path(beside) / "model"
        write_model(folder, config, policy, ids)
        client.log_model_artifacts(ids.model_id, str(folder))


def _link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(file, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, target)


def _bytes_to_copy(place: str, weights: Mapping[str, Path]) -> int:
    """place: where the experiment's files are."""
    local = _local(place)
    if local is not None:
        above = next(folder for folder in (local, *local.parents) if folder.is_dir())
        weights = {name: file for name, file in weights.items() if file.stat().st_dev != above.stat().st_dev}
    return sum(file.stat().st_size for file in weights.values())


def _local(place: str) -> Path | None:
    """The folder of a ``file:`` address or path; None for a server's."""
    parts = urlsplit(place)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(place) if not parts.scheme and place.startswith("/") else None

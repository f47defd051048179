"""A comparison of two evaluations as a run in MLflow, beside them and linked with both and with the runs that trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.evaluate.origin import TRAINED_BY, attempt
from cluster.run.folder import CONFIG_FILE
from rl.config import load_config
from rl.errors import UniGRPOError
from rl.tracking.mlflow import shown
from rl.tracking.mlflow.client import Known, known_run, open_client
from rl.tracking.mlflow.page import NOTE
from rl.tracking.mlflow.run import now_ms
from rl.tracking.mlflow_names import clean_name

COMPARES = "compares"
_NUMBERS = ("n", "a", "b", "difference", "low", "high", "p")


def log_comparison(found: Mapping[str, Any], first: Path, second: Path) -> str | None:
    """The line for the person in front of it; None where an evaluation has no run in MLflow. Raises nothing.

    found: of ``cluster.evaluate.compare.compared``. Comparing the same two again finds the same run.
    """
    a, b = known_run(first), known_run(second)
    if a is None or b is None:
        return None
    try:
        tracking = load_config(second / CONFIG_FILE).tracking
    except (UniGRPOError, OSError):
        return None  # of another version of this project
    lines: list[str] = []

    def work() -> None:
        client = open_client(second.absolute(), tracking.uri, tracking.password_env)
        lines.append(f"MLflow: run {_logged(client, found, a, b, f'{first.name} vs {second.name}')}")

    problem = attempt(work)
    return f"MLflow: the comparison is not logged: {problem}" if problem else lines[0]


def _logged(client: Any, found: Mapping[str, Any], a: Known, b: Known, name: str) -> str:
    pair = f"{a.run_id} {b.run_id}"
    for run in client.search_runs([b.experiment_id], filter_string=f"tags.{COMPARES} = '{pair}'"):
        if run.info.status == "FINISHED":
            return run.info.run_id
        client.delete_run(run.info.run_id)  # a process was ended while it wrote
    trained = {side: _trained_by(client, known) for side, known in (("a", a), ("b", b))}
    tags = {
        "command": "compare",
        COMPARES: pair,
        NOTE: _description(found),
        **{f"{TRAINED_BY}_{side}": run_id for side, run_id in trained.items() if run_id},
    }
    run_id = client.create_run(b.experiment_id, run_name=name, tags=tags).info.run_id
    client.log_batch(run_id, metrics=_metrics(found))
    client.log_dict(run_id, dict(found), "compare.json")
    for trainer in {each for each in trained.values() if each}:
        client.set_tag(trainer, clean_name(f"comparison {name}"), f"{_in_words(found)}; run {run_id}")
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _metrics(found: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Metric

    return [
        Metric(clean_name(f"compare/{task}/{name}"), float(one[name]), now_ms(), 0)
        for task, one in found["tasks"].items()
        for name in _NUMBERS
        if one[name] is not None and math.isfinite(one[name])
    ]


def _trained_by(client: Any, evaluation: Known) -> str | None:
    """The run that trained an evaluation's policy, where it is in this store."""
    from mlflow.exceptions import MlflowException

    try:
        run_id = client.get_run(evaluation.run_id).data.tags.get(TRAINED_BY)
        return client.get_run(run_id).info.run_id if run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _description(found: Mapping[str, Any]) -> str:
    """A table in Markdown."""
    rows = [
        f"| {shown.line(task, 100)} | {one['n']} | {100 * one['a']:.1f} | {100 * one['b']:.1f} | {_difference(one)} |"
        for task, one in found["tasks"].items()
    ]
    head = ["Is B better than A? Scores in percent.", "", "| | n | A | B | B - A |", "|---|---|---|---|---|"]
    sides = ["", f"A: `{shown.line(found['a'], 300)}`", "", f"B: `{shown.line(found['b'], 300)}`"]
    return "\n".join([*head, *rows, *sides])


def _in_words(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{shown.line(task, 100)} {_difference(one)}" for task, one in found["tasks"].items())


def _difference(one: Mapping[str, Any]) -> str:
    """Example: ``+11.0 (3.0 to 19.0), p 0.008``."""
    text = f"{100 * one['difference']:+.1f}"
    if one["low"] is not None:
        text += f" ({100 * one['low']:.1f} to {100 * one['high']:.1f})"
    return text if one["p"] is None else f"{text}, p {one['p']:.3g}"

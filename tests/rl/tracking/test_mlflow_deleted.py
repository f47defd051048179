"""Whatever happens to a run in MLflow's own store, the next start keeps every number, in that run or in a new one."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rl.tracking.mlflow_address import store_uri
from rl.tracking.mlflow_tracker import RUN_FILE
from tests.rl.tracking.test_mlflow_runs import points, run_of, trackers

Act = Callable[[Path, MlflowClient, str], object]


def execute(folder: Path, *lines: str) -> None:
    with sqlite3.connect(folder / "mlflow.db") as store:
        for line in lines:
            store.execute(line)


def remember(folder: Path, content: str) -> None:
    (folder / RUN_FILE).write_text(content)


def purge(folder: Path, client: MlflowClient, run: str) -> None:
    """As ``mlflow gc`` leaves it: no row of the run."""
    tables = ("metrics", "latest_metrics", "params", "tags", "runs")
    execute(folder, *(f"DELETE FROM {table} WHERE run_uuid = '{run}'" for table in tables))


ANEW: dict[str, Act] = {
    "deleted": lambda folder, client, run: client.delete_run(run),
    "deleted, restored and deleted again": lambda folder, client, run: (
        client.delete_run(run), client.restore_run(run), client.delete_run(run)),
    "purged": purge,
    "deleted and purged": lambda folder, client, run: (client.delete_run(run), purge(folder, client, run)),
    "another store": lambda folder, client, run: shutil.copyfile(folder / "empty.db", folder / "mlflow.db"),
    "no memory of it": lambda folder, client, run: (folder / RUN_FILE).unlink(),
    "an empty memory": lambda folder, client, run: remember(folder, ""),
    "a memory that is no JSON": lambda folder, client, run: remember(folder, "{"),
    "a memory of another kind": lambda folder, client, run: remember(folder, "[1]"),
    "a memory without a run": lambda folder, client, run: remember(folder, "{}"),
    "a memory of no text": lambda folder, client, run: remember(folder, '{"run_id": 5}'),
    "a memory of a run that never was": lambda folder, client, run: remember(folder, json.dumps({"run_id": "0" * 32})),
    "a memory of other samples": lambda folder, client, run: remember(folder, json.dumps({"run_id": run, "samples": 5})),
    "a memory without an end": lambda folder, client, run: remember(folder, "[" * 200_000),
    "a memory of no id": lambda folder, client, run: remember(folder, json.dumps({"run_id": "../x'; --"})),
}  # fmt: skip
THE_SAME: dict[str, Act] = {
    "nothing": lambda folder, client, run: None,
    "restored": lambda folder, client, run: (client.delete_run(run), client.restore_run(run)),
    "finished": lambda folder, client, run: client.set_terminated(run, "FINISHED"),
    "failed": lambda folder, client, run: client.set_terminated(run, "FAILED"),
    "renamed": lambda folder, client, run: client.update_run(run, name="another"),
    "with a value of somebody else": lambda folder, client, run: client.log_metric(run, "theirs", 1.0, step=1),
    "with a tag": lambda folder, client, run: client.set_tag(run, "keep", "yes"),
    "beside a deleted one": lambda folder, client, run: client.delete_run(client.create_run("0").info.run_id),
    "in an experiment of another name": lambda folder, client, run: client.rename_experiment(
        client.get_run(run).info.experiment_id, "another"),
}  # fmt: skip


def go_on(folder: Path, store: Path, act: Act) -> tuple[str, str]:
    """(the run before, the run after), with one number logged in each start."""
    shutil.copyfile(store, folder / "mlflow.db")
    shutil.copyfile(store, folder / "empty.db")
    first = trackers(folder, None, "deleted", resume=False)
    first.log(1, {"reward": 0.25})
    first.close("KILLED")
    old = run_of(folder)
    act(folder, MlflowClient(store_uri(folder)), old)
    again = trackers(folder, None, "deleted", resume=True)
    again.log(2, {"reward": 0.5})
    again.close("FINISHED")
    client, new = MlflowClient(store_uri(folder)), run_of(folder)
    assert points(client, new) == [(1, 0.25), (2, 0.5)]
    run = client.get_run(new)
    assert (run.info.status, run.info.lifecycle_stage, run.data.params["mu"]) == ("FINISHED", "active", "4")
    return old, new


@pytest.mark.parametrize("name", ANEW)
def test_a_run_that_is_gone_goes_on_as_a_new_one(
    tmp_path: Path,
    empty_store: Path,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        old, new = go_on(tmp_path, empty_store, ANEW[name])
    assert old != new and "MLflow is off" not in caplog.text


@pytest.mark.parametrize("name", THE_SAME)
def test_a_run_that_is_there_goes_on(
    tmp_path: Path,
    empty_store: Path,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        old, new = go_on(tmp_path, empty_store, THE_SAME[name])
    assert old == new and not [record for record in caplog.records if record.name.startswith("rl.")]

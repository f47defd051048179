"""Points written straight into a file are those that MLflow itself would have written."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from rl.tracking.mlflow import points
from rl.tracking.mlflow.points import Point

INF = float("inf")


def rows(file: Path, run_id: str) -> dict[str, list[tuple]]:
    with closing(sqlite3.connect(file)) as store:
        return {
            table: sorted(
                store.execute(
                    f"SELECT key, value, timestamp, step, is_nan FROM {table} WHERE run_uuid = ?", (run_id,)
                ).fetchall()
            )
            for table in ("metrics", "latest_metrics")
        }


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> tuple[Path, MlflowClient]:
    file = tmp_path / "mlflow.db"
    shutil.copyfile(empty_store, file)
    return file, MlflowClient(f"sqlite:///{file}")


def drawn(seed: int) -> list[list[Point]]:
    """Batches of points: steps out of order and twice, numbers that are none, names of all kinds."""
    chance = random.Random(seed)
    values = [0.0, -0.0, 1.5, -1e300, INF, -INF, float("nan"), 1e-320, 3.0]
    names = ["a", "critic/rewards/mean", "größe", "准确率", "x y", "b" * 250]
    return [
        [
            (chance.choice(names), chance.choice(values), 1000 + chance.randrange(5), chance.randrange(-2, 6))
            for _ in range(chance.randrange(1, 30))
        ]
        for _ in range(6)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_both_ways_leave_the_same_rows(store: tuple[Path, MlflowClient], seed: int) -> None:
    file, client = store
    ours, theirs = (client.create_run("0").info.run_id for _ in range(2))
    assert points.takes(file)
    for batch in drawn(seed):
        assert points.write(file, ours, batch)
        client.log_batch(theirs, metrics=[Metric(*point) for point in batch])
    found, expected = rows(file, ours), rows(file, theirs)
    assert found["metrics"] == expected["metrics"]
    newest = {row[0]: (row[3], row[2]) for row in found["latest_metrics"]}
    assert newest == {row[0]: (row[3], row[2]) for row in expected["latest_metrics"]}
    assert found["latest_metrics"] == expected["latest_metrics"]
    history = client.get_metric_history(ours, "a")
    assert len(history) == sum(row[0] == "a" for row in found["metrics"])


def test_a_run_that_is_not_there_or_was_deleted_is_left_to_mlflow(store: tuple[Path, MlflowClient]) -> None:
    file, client = store
    run_id = client.create_run("0").info.run_id
    client.delete_run(run_id)
    for name in (run_id, "0" * 32):
        assert not points.write(file, name, [("a", 1.0, 1, 1)])
        assert rows(file, name) == {"metrics": [], "latest_metrics": []}
    other = client.create_run("0").info.run_id
    assert not points.write(file, other, [("a", 1.0, 1, 1), ("b" * 251, 1.0, 1, 1)])
    assert rows(file, other)["metrics"] == []


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE metrics ADD COLUMN unit TEXT",
        "ALTER TABLE latest_metrics RENAME COLUMN is_nan TO nan",
        "ALTER TABLE metrics RENAME TO points",
    ],
)
def test_tables_that_are_others_are_left_to_mlflow(store: tuple[Path, MlflowClient], change: str) -> None:
    with closing(sqlite3.connect(store[0])) as file:
        file.execute(change)
    assert not points.takes(store[0])


def test_a_lock_of_another_writer_that_stays_leaves_nothing_half_written(
    store: tuple[Path, MlflowClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, client = store
    run_id = client.create_run("0").info.run_id
    monkeypatch.setattr(points, "BUSY_S", 0.1)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            points.write(file, run_id, [("a", 1.0, 1, 1)])
        other.execute("ROLLBACK")
    assert points.write(file, run_id, [("a", 1.0, 1, 1)])
    assert client.get_run(run_id).data.metrics == {"a": 1.0}

"""A store of MLflow without runs, for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store without runs: making one takes seconds."""
    folder = tmp_path_factory.mktemp("empty")
    MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def stores_of_one_test() -> Iterator[None]:
    """MLflow keeps the store that was named last for the whole process."""
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)

"""What tests of several folders here share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an MLflow store without runs: making one takes seconds."""
    from mlflow import MlflowClient  # here: most tests do not need it, and it takes seconds

    folder = tmp_path_factory.mktemp("empty")
    MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return folder / "mlflow.db"

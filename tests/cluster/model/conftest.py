"""What the tests of this folder leave behind."""

from collections.abc import Iterator

import pytest
from mlflow.tracking._tracking_service import utils


@pytest.fixture(autouse=True)
def stores_of_one_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow keeps the store that was named last for the whole process, in a variable and in the environment."""
    monkeypatch.setattr(utils, "_tracking_uri", utils._tracking_uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    yield

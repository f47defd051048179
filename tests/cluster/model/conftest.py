"""What the tests of this folder leave behind."""

from collections.abc import Iterator

import mlflow
import pytest


@pytest.fixture(autouse=True)
def stores_of_one_test() -> Iterator[None]:
    """MLflow keeps the store that was named last for the whole process."""
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from cluster.run.session import ray_running
from tests.cluster.runs import make_config


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all runs of these tests, so that they share the toy policy's files."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="session")
def local_ray(home: Path) -> Iterator[None]:
    """One Ray for all tests that need it: each start costs seconds. Eight slots, since tests give theirs back."""
    slots = ("cluster.rollout_workers=3", "cluster.reward_workers=1", "cluster.learner_ranks=4")
    with ray_running(make_config(home, "cluster.mode=ray", *slots)):
        yield
    assert not ray.is_initialized()

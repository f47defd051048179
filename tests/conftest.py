"""Before any test file is imported; and what tests of several folders share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from socketserver import BaseServer

import pytest
from hypothesis import settings

from rl.output import secrets

# An example's time is the machine's business: where it is busy, a first call takes seconds.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# Triton reads it when it is imported, which torch.compile does too: kernels run in its interpreter, without a GPU.
os.environ["TRITON_INTERPRET"] = "1"

# A client that goes away is no mistake of a test's server. Its traceback would stand in what a later test reads.
BaseServer.handle_error = lambda *_: None  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture(autouse=True)
def secrets_of_one_test() -> Iterator[None]:
    """What a test made known as a secret would be stars in the messages that the tests after it read."""
    before = dict(secrets._known)
    yield
    secrets._known.clear()
    secrets._known.update(before)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all runs of the tests over Ray, so that they share the toy policy's files."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="session")
def local_ray(home: Path) -> Iterator[None]:
    """One Ray for all tests that need it: each start costs seconds. Eight slots, since tests give theirs back."""
    import ray  # here: most tests do not need it, and it takes a second

    from cluster.run.session import ray_running
    from tests.cluster.runs import make_config

    slots = ("cluster.rollout_workers=3", "cluster.reward_workers=1", "cluster.learner_ranks=4")
    with ray_running(make_config(home, "cluster.mode=ray", *slots)):
        yield
    assert not ray.is_initialized()

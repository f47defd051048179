"""Where a run lives: placement, and what is refused before an actor starts."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from cluster.actors.resources import place
from cluster.run.session import session
from rl.config import Config
from rl.errors import ConfigError, DeadlineError
from tests.cluster.runs import make_config


def config(folder: Path, *overrides: str) -> Config:
    return make_config(folder, "cluster.mode=ray", *overrides)


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "ray://head:10001/x"])
def test_an_address_that_is_none(home: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="expected HOST:PORT"), session(config(home, f"cluster.address='{address}'")):
        pass


def test_a_head_that_does_not_answer_is_told_in_seconds(home: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        began = time.monotonic()
        with (
            pytest.raises(DeadlineError, match=f"cluster.address={address}: no Ray head answers .*refused"),
            session(config(home, f"cluster.address='{address}'")),
        ):
            pass
        assert time.monotonic() - began < 5


@pytest.mark.usefixtures("local_ray")
def test_a_cluster_that_is_too_small_is_told_at_once(home: Path) -> None:
    wanted = config(home, "cluster.rollout_workers=900")
    with pytest.raises(ConfigError, match="cluster.rollout_workers=900.*need 902 CPUs, the Ray cluster has"):
        place(wanted)
    with pytest.raises(ConfigError, match="need 902 CPUs"), session(wanted):
        pass


@pytest.mark.usefixtures("local_ray")
def test_no_gpu_for_a_reward_that_needs_one(home: Path) -> None:
    wanted = config(home, "rewards.mix={draw: {clip: 0.1}}", "rewards.settings={clip: {model: tiny, device: cuda}}")
    with pytest.raises(ConfigError, match=r"scorer_gpus=1: rewards on a GPU \(clip\) need 1, the Ray cluster has 0"):
        place(wanted)


@pytest.mark.usefixtures("local_ray")
def test_no_gpu_for_cuda(home: Path) -> None:
    with pytest.raises(ConfigError, match="policy.device=cuda.*the Ray cluster has 0 GPUs"):
        place(config(home, "policy.device=cuda"))

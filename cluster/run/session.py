"""Where a run lives: in this process, in a Ray of its own, or in a Ray cluster that is there already."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.actors.device import on_this_machine
from cluster.actors.resources import place
from cluster.plan.layout import scorers
from cluster.run.hub import fetch_on_nodes, runtime_env
from cluster.run.private_ray import private_ray
from cluster.weights.base import check_wire
from cluster.workers.judge_server import judge_serving
from rl.config import Config
from rl.config.device import is_open, resolved
from rl.errors import ConfigError, DeadlineError, WorkerError, first_line
from rl.protocols import Learner, RunsAhead

if TYPE_CHECKING:
    from cluster.actors.call import Watched
    from cluster.actors.faults import FaultPlan

SWITCH_S = 0.0005
PROBE_S = 5.0  # to reach a cluster's head: Ray itself would try for two minutes


@dataclass(frozen=True, slots=True)
class Session:
    """watched: those of its parts that have actors; none in one process."""

    workers: RunsAhead
    learner: Learner
    watched: tuple[Watched, ...] = ()


@contextmanager
def session(config: Config, *, train: bool = True, faults: FaultPlan | None = None) -> Iterator[Session]:
    """Workers and learner as ``cluster.mode`` says, ready to serve; everything is given back at the end, also on error.

    train=False: the learner only hands out the weights of ``policy.path``, for evaluation. faults: a test's accidents.

    Raises ConfigError, PolicyError, RewardError, WorkerError, DeadlineError.
    """
    check_wire(config)
    inline = config.cluster.mode == "inline"
    if inline or config.cluster.address is None:
        config = on_this_machine(config)
    with _inline(config, train) if inline else _on_ray(config, train, faults) as parts:
        yield parts


@contextmanager
def _inline(config: Config, train: bool) -> Iterator[Session]:
    with judge_serving(config) as served:
        from cluster.learner.one_rank import FrozenLearner, make_learner
        from cluster.workers.inline import InlineWorkers

        learner = make_learner(served) if train else FrozenLearner(served)
        workers = InlineWorkers(served)
        try:
            yield Session(workers, learner)
        finally:
            workers.close()
            learner.close()


@contextmanager
def _on_ray(config: Config, train: bool, faults: FaultPlan | None) -> Iterator[Session]:
    with ray_running(config), quick_turns():
        fetch_on_nodes(config)
        from cluster.learner.one_rank import FrozenLearner
        from cluster.learner.rank_group import RankGroup
        from cluster.workers.judge_actor import judge_on_ray
        from cluster.workers.on_ray import RayWorkers

        config = on_the_cluster(config)
        with judge_on_ray(config, place(config)) as (served, placement):
            workers = RayWorkers(served, placement, faults)  # all actors start at once; only then are they waited for
            learner: RankGroup | FrozenLearner | None = None
            try:
                learner = RankGroup(served, placement, faults, beside=workers) if train else FrozenLearner(served)
                workers.wait_ready()
                watched: tuple[Watched, ...] = (workers,)
                if isinstance(learner, RankGroup):
                    learner.wait_ready()
                    watched = (workers, learner)
                yield Session(workers, learner, watched)
            finally:
                workers.close()
                if learner is not None:
                    learner.close()


def on_the_cluster(config: Config) -> Config:
    """With what ``auto`` stands for on the Ray that is running."""
    import ray

    return resolved(config, ray.cluster_resources().get("GPU", 0) > 0) if is_open(config) else config


@contextmanager
def quick_turns() -> Iterator[None]:
    """The driver waits for Ray some hundred times a step, and gives Python's lock away each time. Whoever computes meanwhile,
    as the thread that writes to MLflow does, keeps it for 5 ms by default before it is asked to give it back."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def ray_running(config: Config) -> Iterator[None]:
    """Ray, started for this run or attached to. One that was there before is left running."""
    import ray

    address = config.cluster.address
    check_address(address)
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    with ExitStack() as stack:
        try:
            if address is None:
                alone = stack.enter_context(private_ray())
                ray.init(address="local", num_cpus=_actor_count(config), include_dashboard=False, **alone, **quiet)
            else:
                ray.init(address=address, **runtime_env(config), **quiet)
        except (
            Exception,
            SystemExit,
        ) as error:  # Ray raises a bare Exception where a loaded machine starts it too slowly
            where = "a local Ray" if address is None else f"cluster.address={address}"
            raise WorkerError(f"{where}: could not be started or reached: {first_line(error)}") from error
        stack.callback(ray.shutdown)
        yield


def check_address(address: str | None) -> None:
    """Raises ConfigError or DeadlineError, within seconds, where no Ray head can be there."""
    if address in (None, "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ConfigError(f"cluster.address={address!r}: expected HOST:PORT of a Ray head, auto, or null")
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_S).close()
    except (OSError, OverflowError) as error:
        text = f"cluster.address={address}: no Ray head answers within {PROBE_S:g} s: {error}"
        raise DeadlineError(text) from error


def _actor_count(config: Config) -> int:
    cluster = config.cluster
    return cluster.rollout_workers + cluster.reward_workers + scorers(config) + cluster.learner_ranks

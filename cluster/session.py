"""Where a run lives: in this process, in a Ray of its own, or in a Ray cluster that is there already."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.job import take_secrets
from cluster.judge_server import judge_serving
from cluster.placement import judge_gpus, layout, scorer_gpus, scorers, selected
from rl.config import Config
from rl.errors import ConfigError, DeadlineError, WorkerError
from rl.protocols import Learner, RunsAhead

if TYPE_CHECKING:
    from cluster.faults import FaultPlan

SWITCH_S = 0.0005
PROBE_S = 5.0  # to reach a cluster's head: Ray itself would try for two minutes


@dataclass(frozen=True, slots=True)
class Session:
    workers: RunsAhead
    learner: Learner


@dataclass(frozen=True, slots=True)
class Placement:
    """What each kind of actor asks Ray for, and the folder in which relative paths of the config hold.

    secrets: environment variables of the reward workers. They travel as an argument, which no dashboard shows.
    """

    rollout: dict[str, Any]
    reward: dict[str, Any]
    learner: dict[str, Any]
    folder: str
    scorer: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


@contextmanager
def session(config: Config, *, train: bool = True, faults: FaultPlan | None = None) -> Iterator[Session]:
    """Workers and learner as ``cluster.mode`` says, ready to serve; everything is given back at the end, also on error.

    train=False: the learner only hands out the weights of ``policy.path``, for evaluation. faults: a test's accidents.

    Raises ConfigError, PolicyError, RewardError, WorkerError, DeadlineError.
    """
    inline = config.cluster.mode == "inline"
    with _inline(config, train) if inline else _on_ray(config, train, faults) as parts:
        yield parts


@contextmanager
def _inline(config: Config, train: bool) -> Iterator[Session]:
    with judge_serving(config) as served:
        from cluster.learner import FrozenLearner, make_learner
        from cluster.workers import InlineWorkers

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
        from cluster.judge_actor import judge_on_ray
        from cluster.learner import FrozenLearner
        from cluster.rank_group import RankGroup
        from cluster.ray_workers import RayWorkers

        with judge_on_ray(config, place(config)) as (served, placement):
            workers = RayWorkers(served, placement, faults)  # all actors start at once; only then are they waited for
            learner = RankGroup(served, placement, faults) if train else FrozenLearner(served)
            try:
                workers.wait_ready()
                if isinstance(learner, RankGroup):
                    learner.wait_ready()
                    learner.aside = workers
                    if served.cluster.take_turns:
                        workers.take_turns(learner)
                yield Session(workers, learner)
            finally:
                workers.close()
                learner.close()


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
    try:
        if address is None:
            ray.init(address="local", num_cpus=_actor_count(config), include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, OSError, RuntimeError, ValueError, SystemExit) as error:
        where = "a local Ray" if address is None else f"cluster.address={address}"
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WorkerError(f"{where}: could not be started or reached: {reason[0]}") from error
    try:
        yield
    finally:
        ray.shutdown()


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


def place(config: Config) -> Placement:
    """Resources of each actor. A Ray of our own has one slot an actor: its processes share this machine's cores anyway.

    Raises ConfigError where a cluster is too small: its actors would wait for ever.
    """
    import ray

    cluster, resources = config.cluster, ray.cluster_resources()
    local = cluster.address is None
    cpus = {
        "rollout": 1 if local else config.rollout.threads,
        "reward": 1,
        "learner": 1 if local else config.learner.threads,
    }
    needed = (
        cluster.rollout_workers * cpus["rollout"] + cluster.reward_workers + cluster.learner_ranks * cpus["learner"]
    ) + scorers(config)
    if needed > resources.get("CPU", 0):
        raise ConfigError(
            f"cluster.rollout_workers={cluster.rollout_workers}, reward_workers={cluster.reward_workers}, "
            f"scorers={scorers(config)}, learner_ranks={cluster.learner_ranks}: need {needed} CPUs, the Ray cluster has "
            f"{resources.get('CPU', 0):g}; ask for fewer workers or threads"
        )
    gpus = resources.get("GPU", 0)
    if scorer_gpus(config) > gpus:
        raise ConfigError(
            f"cluster.scorer_workers={cluster.scorer_workers}, scorer_gpus={cluster.scorer_gpus:g}: rewards on a GPU "
            f"({', '.join(sorted(config.rewards.on_gpu))}) need {scorer_gpus(config):g}, the Ray cluster has {gpus:g}; ask "
            "for fewer, or set rewards.settings.NAME.device=cpu"
        )
    plan = layout(config, int(gpus - judge_gpus(config) - scorer_gpus(config)))
    return Placement(
        rollout={"num_cpus": cpus["rollout"], "num_gpus": plan.worker_gpus, **selected(config, "rollout")},
        reward={"num_cpus": cpus["reward"], **selected(config, "reward")},
        learner={"num_cpus": cpus["learner"], "num_gpus": plan.rank_gpus, **selected(config, "learner")},
        folder=os.getcwd(),
        scorer={
            "num_cpus": 1,
            "num_gpus": cluster.scorer_gpus if config.rewards.on_gpu else 0,
            **selected(config, "scorer"),
        },
    )


def enter(folder: str, config: Config, name: str) -> None:
    """Called first in every actor: relative paths and secrets are there what they are to the driver, and SIGUSR1 writes
    the actor's stacks to ``stacks_file``, also where the actor is stuck in foreign code."""
    if os.path.isdir(folder):
        os.chdir(folder)
        take_secrets(Path(folder))
    with contextlib.suppress(OSError):
        register_stacks(config.run_dir, name)


def register_stacks(run_dir: Path, name: str) -> None:
    """Let SIGUSR1 write all stacks of this process to ``stacks_file``, also while it is stuck in foreign code."""
    file = stacks_file(run_dir, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = file.open("w")
    handle.write(f"process {os.getpid()}\n")
    handle.flush()
    faulthandler.register(signal.SIGUSR1, handle)


def stacks_file(run_dir: Path, name: str) -> Path:
    return run_dir / "logs" / f"stacks-{name.replace(' ', '-')}.txt"


def _actor_count(config: Config) -> int:
    cluster = config.cluster
    return cluster.rollout_workers + cluster.reward_workers + scorers(config) + cluster.learner_ranks

"""Who lives where: one plan of a run's actors, made from the config alone, for every kind of cluster.

colocated      learner ranks and rollout workers share GPUs, each with a part of it
disaggregated  every one has a GPU of its own
Reward workers are a slice of their own: CPUs, and the nodes that ``cluster.labels.reward`` selects. So are model
reward workers, whose models may need GPUs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cluster.weights.base import WIRES
from rewards.registry import settings_of
from rl.config import Config
from rl.config.device import resolved
from rl.errors import ConfigError

RANK_SHARE = 0.51  # of a GPU, where a rank shares one: two ranks never fit


@dataclass(frozen=True, slots=True)
class Layout:
    """rank_gpus, worker_gpus: GPUs of one learner rank and of one rollout worker, shares where they live together.

    gpus, cpus   of all actors together
    """

    mode: str
    rank_gpus: float
    worker_gpus: float
    gpus: int
    cpus: int


@dataclass(frozen=True, slots=True)
class Nodes:
    """So many nodes of so many GPUs and CPUs each."""

    count: int
    gpus: int
    cpus: int


def layout(config: Config, gpus: int | None = None) -> Layout:
    """The layout on so many GPUs; None: on as many as it asks for. On the CPU, GPUs are 0.

    ``cluster.placement=auto`` is disaggregated where there are GPUs enough and nothing is asked for that only those who
    share them can do. Raises ConfigError where they are too few.
    """
    cluster = config.cluster
    ranks, workers = cluster.learner_ranks, cluster.rollout_workers
    cpus = ranks * config.learner.threads + workers * config.rollout.threads + cluster.reward_workers
    cpus += scorers(config)
    if not config.policy.device.startswith("cuda"):
        return Layout("disaggregated", 0, 0, 0, cpus)
    apart, together = ranks + workers, max(ranks, 1)
    together_by_choice = cluster.take_turns or wire_shares_device(config)
    wanted = "colocated" if cluster.placement == "auto" and together_by_choice else cluster.placement
    enough = gpus is None or gpus >= apart
    if wanted == "disaggregated" and not enough:
        raise ConfigError(
            f"cluster.placement=disaggregated: {ranks} ranks and {workers} rollout workers need {apart} GPUs, there are "
            f"{gpus}; ask for fewer, or set cluster.placement=colocated"
        )
    if wanted != "colocated" and enough:
        return Layout("disaggregated", 1, 1, apart, cpus)
    available = together if gpus is None else gpus
    if available < ranks:
        raise ConfigError(
            f"policy.device={config.policy.device}, cluster.learner_ranks={ranks}: the Ray cluster has {available} GPUs, "
            "and two ranks never share one; ask for fewer ranks, or set policy.device=cpu"
        )
    each = math.ceil(workers / available)
    return Layout("colocated", RANK_SHARE, int(490 / each) / 1000, available, cpus)


def wire_shares_device(config: Config) -> bool:
    """Whether weights reach rollout workers only on the device of a rank."""
    return WIRES[config.cluster.weight_sync].shares_device


def nodes_for(config: Config, *, gpus_per_node: int, cpus_per_node: int) -> Nodes:
    """The nodes that hold the run, on machines of this size. Raises ConfigError where an actor fits on none of them."""
    config = resolved(config, gpus_per_node > 0)
    plan = layout(config)
    threads = max(config.learner.threads, config.rollout.threads)
    if threads > cpus_per_node:
        raise ConfigError(f"--cpus-per-node {cpus_per_node}: one actor has {threads} threads; use larger nodes")
    by_cpu = math.ceil(plan.cpus / cpus_per_node)
    gpus = plan.gpus + math.ceil(judge_gpus(config)) + math.ceil(scorer_gpus(config))
    if gpus and not gpus_per_node:
        raise ConfigError(f"policy.device={config.policy.device}: the run needs {gpus} GPUs; give --gpus-per-node")
    by_gpu = math.ceil(gpus / gpus_per_node) if gpus else 0
    return Nodes(max(by_cpu, by_gpu, 1), gpus_per_node if gpus else 0, cpus_per_node)


def judge_gpus(config: Config) -> float:
    """Of the judge's server, where the run has one of its own."""
    return config.judge.gpus if config.judge.serve is not None else 0


def rewards_on_gpu(config: Config) -> frozenset[str]:
    """Rewards that need a GPU, as their settings classes say. Raises RewardError for a name that no reward has."""
    mixes = (*config.rewards.mix.values(), *config.evaluation.mix.values())
    settings = {**dict.fromkeys((name for mix in mixes for name in mix), {}), **config.rewards.settings}
    return frozenset(name for name, given in settings.items() if settings_of({"name": name, **given}).needs_gpu(given))


def rewards_apart(config: Config) -> frozenset[str]:
    """Rewards that model reward workers score over Ray. In one process one worker scores all."""
    return rewards_on_gpu(config) | frozenset(config.rewards.scorers)


def scorers(config: Config) -> int:
    """Model reward workers of the run: none where no reward needs one."""
    return config.cluster.scorer_workers if rewards_apart(config) else 0


def scorer_gpus(config: Config) -> float:
    """Of all model reward workers together."""
    return scorers(config) * config.cluster.scorer_gpus if rewards_on_gpu(config) else 0

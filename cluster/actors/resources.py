"""What each kind of actor asks Ray for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from cluster.plan.layout import judge_gpus, layout, rewards_on_gpu, scorer_gpus, scorers
from rl.config import Config
from rl.errors import ConfigError
from rl.output.secrets import Secret


@dataclass(frozen=True, slots=True)
class Placement:
    """What each kind of actor asks Ray for, and the folder in which relative paths of the config hold.

    secrets: environment variables of the reward workers. They travel as an argument, which no dashboard shows.
    """

    rollout: dict[str, Any]
    reward: dict[str, Any]
    model_reward: dict[str, Any]
    learner: dict[str, Any]
    folder: str
    secrets: dict[str, Secret] = field(default_factory=dict, repr=False)


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
            f"({', '.join(sorted(rewards_on_gpu(config)))}) need {scorer_gpus(config):g}, the Ray cluster has {gpus:g}; ask "
            "for fewer, or set rewards.settings.NAME.device=cpu"
        )
    plan = layout(config, int(gpus - judge_gpus(config) - scorer_gpus(config)))
    return Placement(
        rollout={"num_cpus": cpus["rollout"], "num_gpus": plan.worker_gpus, **selected(config, "rollout")},
        reward={"num_cpus": cpus["reward"], **selected(config, "reward")},
        model_reward={
            "num_cpus": 1,
            "num_gpus": cluster.scorer_gpus if rewards_on_gpu(config) else 0,
            **selected(config, "scorer"),
        },
        learner={"num_cpus": cpus["learner"], "num_gpus": plan.rank_gpus, **selected(config, "learner")},
        folder=os.getcwd(),
    )


def selected(config: Config, kind: str) -> dict[str, Any]:
    """Ray's option that keeps a kind of actor on the nodes with ``cluster.labels.KIND``; nothing where it is not set."""
    labels = config.cluster.labels.get(kind)
    return {"label_selector": dict(labels)} if labels else {}

"""Who lives where: one plan of a run's actors, made from the config alone, for every kind of cluster.

colocated      learner ranks and rollout workers share GPUs, each with a part of it
disaggregated  every one has a GPU of its own
Reward workers are a slice of their own: CPUs, and the nodes that ``cluster.labels.reward`` selects. So are scorer workers,
whose models may need GPUs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl.config import Config
from rl.errors import ConfigError, DeadlineError, WorkerError

KINDS = ("rollout", "reward", "scorer", "learner")
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


@dataclass(frozen=True, slots=True)
class Device:
    """What an actor sees of its node. Example: ``Device("10.0.0.7", ("3",))``; no GPU: ``()``."""

    node: str
    gpus: tuple[str, ...]


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
    together_by_choice = cluster.take_turns or cluster.weight_sync == "ipc"
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


def nodes_for(config: Config, *, gpus_per_node: int, cpus_per_node: int) -> Nodes:
    """The nodes that hold the run, on machines of this size. Raises ConfigError where an actor fits on none of them."""
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


def scorers(config: Config) -> int:
    """Scorer workers of the run: none where no reward is scored apart."""
    return config.cluster.scorer_workers if config.rewards.apart else 0


def scorer_gpus(config: Config) -> float:
    """Of all scorer workers together."""
    return scorers(config) * config.cluster.scorer_gpus if config.rewards.on_gpu else 0


def selected(config: Config, kind: str) -> dict[str, Any]:
    """Ray's option that keeps a kind of actor on the nodes with ``cluster.labels.KIND``; nothing where it is not set."""
    labels = config.cluster.labels.get(kind)
    return {"label_selector": dict(labels)} if labels else {}


def rank_order(nodes: Sequence[str]) -> list[int]:
    """Places in the order of their ranks: by the numbers in their node's address, whatever order Ray chose them in.

    So neighbours in rank are neighbours on a node, and a restart on the same nodes gives every rank its node again.
    """
    return sorted(range(len(nodes)), key=lambda index: (_natural(nodes[index]), index))


class RankPlaces:
    """Where learner ranks go: a placement group, which Ray gives whole or not at all, on as few nodes as hold it.

    One rank alone needs none. ``close`` gives the places back; the next ``options`` asks for them anew.
    """

    def __init__(self, config: Config, resources: Mapping[str, Any]) -> None:
        self._config, self._resources = config, dict(resources)
        self._group: Any = None
        self._order: list[int] = []

    def options(self, rank: int) -> dict[str, Any]:
        """Of ``ActorClass.options``. Raises DeadlineError where the cluster has no room within the start's deadline."""
        if self._config.cluster.learner_ranks == 1:
            return self._resources
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        if self._group is None:
            self._group = self._reserve()
        place = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=self._order[rank])
        return {**self._bundle(), "scheduling_strategy": place}

    def close(self) -> None:
        from ray.util import remove_placement_group

        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None

    def _reserve(self) -> Any:
        import ray
        from ray.util import placement_group, placement_group_table, remove_placement_group

        cluster, labels = self._config.cluster, self._resources.get("label_selector")
        size = {"CPU": self._resources["num_cpus"], "GPU": self._resources["num_gpus"]}
        bundle = {name: amount for name, amount in size.items() if amount}
        count = cluster.learner_ranks
        selectors: dict[str, Any] = {"bundle_label_selector": [labels] * count} if labels else {}
        group = placement_group([bundle] * count, strategy="PACK", **selectors)
        if not ray.wait([group.ready()], timeout=cluster.start_deadline_s)[0]:
            remove_placement_group(group)
            where = f" on nodes labelled {labels}" if labels else ""
            raise DeadlineError(
                f"cluster.learner_ranks={count}: no room for all of them{where} within {cluster.start_deadline_s:g} s; "
                "is another job on the cluster?"
            )
        address = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
        nodes = placement_group_table(group)["bundles_to_node_id"]
        self._order = rank_order([address[nodes[index]] for index in range(count)])
        return group

    def _bundle(self) -> dict[str, Any]:
        return {name: amount for name, amount in self._resources.items() if name != "label_selector"}


def this_device() -> Device:
    """Of the actor that asks."""
    import ray

    return Device(ray.util.get_node_ip_address(), tuple(ray.get_runtime_context().get_accelerator_ids().get("GPU", ())))


def beside(handles: Mapping[Device, bytes], name: str) -> bytes:
    """What a rank on the asking actor's own device has to lend. Raises WorkerError where there is no such rank."""
    device = this_device()
    if device not in handles:
        where = ", ".join(sorted(f"{each.node} {'/'.join(each.gpus) or 'CPU'}" for each in handles))
        raise WorkerError(
            f"cluster.weight_sync=ipc: {name} has {device.node} {'/'.join(device.gpus) or 'CPU'}, the learner's ranks have "
            f"{where}; set cluster.placement=colocated and as many ranks as GPUs, or cluster.weight_sync=object_store"
        )
    return handles[device]


def check_devices(devices: Mapping[str, Device]) -> None:
    """Raises WorkerError where two ranks see the same GPU, or one sees none or several: before anything is loaded."""
    owner: dict[tuple[str, str], str] = {}
    for name, device in devices.items():
        if len(device.gpus) != 1:
            seen = ", ".join(device.gpus) or "no GPU"
            raise WorkerError(
                f"{name} on {device.node} sees {seen}, and must see one: check CUDA_VISIBLE_DEVICES there"
            )
        place = (device.node, device.gpus[0])
        if place in owner:
            raise WorkerError(
                f"{owner[place]} and {name} both have GPU {device.gpus[0]} of {device.node}: is "
                "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES set on that node?"
            )
        owner[place] = name


def _natural(address: str) -> tuple[tuple[int, int, str], ...]:
    return tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in address.replace("-", ".").split(".")
    )

"""Where learner ranks go: nodes in a stable order, one GPU a rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.actors.device import Device
from rl.config import Config
from rl.errors import DeadlineError, WorkerError


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

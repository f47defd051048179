"""The machines that a job asks a scheduler for: KubeRay and Slurm both start a cluster of the job's own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cluster.plan.layout import Nodes, nodes_for
from rl.config import Config


@dataclass(frozen=True, slots=True)
class Machines:
    """One node: its GPUs, its CPUs, and the GiB of memory that a pod or a Slurm task asks for."""

    gpus_per_node: int = 8
    cpus_per_node: int = 16
    memory_gib: int = 64

    def nodes_for(self, config: Config) -> Nodes:
        """How many nodes the run needs, and what of each. Raises ConfigError: an actor that fits on no node."""
        return nodes_for(config, gpus_per_node=self.gpus_per_node, cpus_per_node=self.cpus_per_node)


def short_name(name: str) -> str:
    """A run's name as Kubernetes and Slurm take it. At most 40 characters: KubeRay adds to it, and a label holds 63."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "run"

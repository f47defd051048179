"""A recipe as a batch script for Slurm, which starts Ray on its nodes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from importlib import resources

from cluster.jobs.machines import Machines, short_name
from cluster.jobs.shipping import Shipment
from rl.config import to_yaml

TEMPLATE = "slurm.sbatch"


def slurm(shipment: Shipment, command: str, machines: Machines, ports: Sequence[int] = (6379, 8265)) -> str:
    """A script for ``sbatch``: Ray's head on the first node, one raylet on each other one, the run on the first.

    The submit host's folder is taken to be on every node, as it is on most Slurm clusters; files are not copied. The
    token is the job's own, in a file for its owner alone. A job that is preempted is queued again and resumes.

    ports: of Ray's head and of its dashboard. Raises ConfigError: an actor that fits on no node.
    """
    config = shipment.config
    nodes = machines.nodes_for(config)
    lines = [
        f"#SBATCH --job-name={short_name(config.name)}",
        f"#SBATCH --nodes={nodes.count}",
        "#SBATCH --ntasks-per-node=1",
        f"#SBATCH --cpus-per-task={nodes.cpus}",
        *([f"#SBATCH --gpus-per-node={nodes.gpus}"] if nodes.gpus else []),
        f"#SBATCH --mem={machines.memory_gib}G",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --signal=B:TERM@120",
    ]
    text = to_yaml(config).rstrip()
    values = {
        "SBATCH": "\n".join(lines),
        "FOLDER": shlex.quote(str(config.run_dir / "slurm")),
        "COMMAND": command,
        "PORT": str(ports[0]),
        "DASHBOARD": str(ports[1]),
        "CPUS": str(nodes.cpus),
        "GPUS": str(nodes.gpus),
        "CONFIG": text,
        "MARK": _mark(text),
    }
    template = (resources.files("cluster.jobs") / TEMPLATE).read_text(encoding="utf-8")
    # In one pass: what a value holds is never taken for a place of another one.
    return re.sub(r"__([A-Z]+)__", lambda place: values[place[1]], template)


def _mark(text: str) -> str:
    """The line that ends a here-document of this text: one that does not occur in it."""
    mark = "END_OF_CONFIG"
    while mark in text:
        mark += "_"
    return mark

"""A recipe as a RayJob for KubeRay, with a ConfigMap of its files.

It follows KubeRay's ``ray.io/v1`` (ray-operator/config/crd/bases, 1.5 or later for ``authOptions``).
"""

from __future__ import annotations

import base64
import re
import tempfile
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from cluster.jobs.machines import Machines, short_name
from cluster.jobs.shipping import Shipment
from cluster.plan.layout import Nodes
from rl.errors import ConfigError

JOB_FOLDER = "/unigrpo"  # where the config and the user's files are mounted
CONFIG_MAP_BYTES = 1_000_000  # Kubernetes takes 1 MiB, names and encoding included
CLAIM = "runs"


@dataclass(frozen=True, slots=True)
class KubeRay:
    """image has unigrpo and its dependencies. claim: ``NAME:/path``, a volume that all pods mount, for ``output_dir``.
    secrets: Kubernetes Secrets whose keys become environment variables. backoff: new clusters for a job that failed."""

    image: str
    claim: str
    secrets: tuple[str, ...] = ()
    backoff: int = 3


def kuberay(shipment: Shipment, command: str, options: KubeRay, machines: Machines) -> str:
    """Two YAML documents for ``kubectl apply -f``: a ConfigMap with the config and files, and the RayJob.

    Raises ConfigError: no volume, files over a ConfigMap's size, an actor that fits on no node.
    """
    import yaml

    class Plain(yaml.SafeDumper):
        """Writes what is used twice twice: people read this, and edit it."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    claim, mount = _claim(options.claim)
    output = Path(shipment.config.output_dir)
    folder = output if output.is_relative_to(mount) else Path(mount) / output.name
    config = replace(shipment.config, output_dir=str(folder))
    name = short_name(config.name)
    contents, items = _contents(replace(shipment, config=config))
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-files"},
        "binaryData": {key: base64.b64encode(data).decode() for key, data in contents.items()},
    }
    pod = _pod_maker(name, items, claim, mount, options)
    nodes = machines.nodes_for(config)
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name},
        "spec": {
            "entrypoint": f"sh -c 'cd {JOB_FOLDER} && exec python -m cluster.jobs.entry {command}'",
            "backoffLimit": options.backoff,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 600,
            "metadata": {"unigrpo": command, "run": config.name},
            "rayClusterSpec": _cluster(pod, nodes, machines),
        },
    }
    return yaml.dump_all([config_map, job], Dumper=Plain, sort_keys=False)


def _cluster(pod: Any, nodes: Nodes, machines: Machines) -> dict[str, Any]:
    group: dict[str, Any] = {
        "groupName": "gpu" if nodes.gpus else "cpu",
        "replicas": nodes.count,
        "minReplicas": nodes.count,
        "maxReplicas": nodes.count,
        "rayStartParams": {},
        "template": pod("ray-worker", nodes.cpus, nodes.gpus, machines.memory_gib),
    }
    return {
        "rayVersion": metadata.version("ray"),
        "authOptions": {"mode": "token"},
        # The head schedules and runs the driver; a learner beside it would compete with both.
        "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": pod("ray-head", 4, 0, 16)},
        "workerGroupSpecs": [group],
    }


def _pod_maker(name: str, items: list[dict[str, str]], claim: str, mount: str, options: KubeRay) -> Any:
    volumes = [
        {"name": "job", "configMap": {"name": f"{name}-files", "items": items}},
        {"name": CLAIM, "persistentVolumeClaim": {"claimName": claim}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    mounts = [
        {"name": "job", "mountPath": JOB_FOLDER, "readOnly": True},
        {"name": CLAIM, "mountPath": mount},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]

    def pod(container: str, cpus: int, gpus: int, memory_gib: int) -> dict[str, Any]:
        size = {"cpu": str(cpus), "memory": f"{memory_gib}Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
        spec: dict[str, Any] = {
            "name": container,
            "image": options.image,
            "resources": {"requests": size, "limits": size},
            "volumeMounts": mounts,
        }
        if options.secrets:
            spec["envFrom"] = [{"secretRef": {"name": secret}} for secret in options.secrets]
        return {"spec": {"containers": [spec], "volumes": volumes}}

    return pod


def _contents(shipment: Shipment) -> tuple[dict[str, bytes], list[dict[str, str]]]:
    """Keys of a ConfigMap are flat: a number and the name; ``items`` say at which path each appears."""
    with tempfile.TemporaryDirectory(prefix="unigrpo-manifest-") as folder:
        shipment.write(Path(folder))
        files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
        paths = {str(file.relative_to(folder)): file.read_bytes() for file in files}
    size = sum(len(data) * 4 // 3 + len(path) for path, data in paths.items())
    if size > CONFIG_MAP_BYTES:
        largest = max(paths, key=lambda path: len(paths[path]))
        raise ConfigError(
            f"manifest kuberay: {largest.removeprefix('files')} and what goes with it take {size:,} bytes, a ConfigMap holds "
            f"{CONFIG_MAP_BYTES:,}; put data and models into the image or on the volume, and pass --shared FOLDER"
        )
    keys = {path: f"{number}-{re.sub(r'[^-._a-zA-Z0-9]', '_', Path(path).name)}" for number, path in enumerate(paths)}
    return {keys[path]: data for path, data in paths.items()}, [
        {"key": key, "path": path} for path, key in keys.items()
    ]


def _claim(text: str) -> tuple[str, str]:
    name, _, mount = text.partition(":")
    if not name or not mount.startswith("/") or mount == "/":
        raise ConfigError(f"--claim {text}: expected NAME:/path, a volume claim that every pod mounts, for output_dir")
    return name, mount

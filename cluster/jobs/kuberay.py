"""The same job for two other schedulers: a KubeRay RayJob, and a Slurm batch script that starts Ray on its nodes.

Both start a cluster of their own for the job, so both name what it needs: nodes, GPUs and CPUs, from the layout of the
config. The RayJob follows KubeRay's ``ray.io/v1`` (ray-operator/config/crd/bases, 1.5 or later for ``authOptions``).
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from cluster.jobs.entry import CONFIG_FILE
from cluster.jobs.shipping import Packed
from cluster.plan.layout import Nodes, nodes_for
from rl.config import Config, to_yaml
from rl.errors import ConfigError

JOB_FOLDER = "/unigrpo"  # where the config and the user's files are mounted
CONFIG_MAP_BYTES = 1_000_000  # Kubernetes takes 1 MiB, names and encoding included
CLAIM = "runs"


@dataclass(frozen=True, slots=True)
class Machines:
    """Of one node; memory_gib is asked for in pods and on Slurm."""

    gpus_per_node: int = 8
    cpus_per_node: int = 16
    memory_gib: int = 64


@dataclass(frozen=True, slots=True)
class KubeRay:
    """image has unigrpo and its dependencies. claim: ``NAME:/path``, a volume that all pods mount, for ``output_dir``.
    secrets: Kubernetes Secrets whose keys become environment variables. backoff: new clusters for a job that failed."""

    image: str
    claim: str
    secrets: tuple[str, ...] = ()
    backoff: int = 3


def kuberay(packed: Packed, command: str, options: KubeRay, machines: Machines) -> str:
    """Two YAML documents for ``kubectl apply -f``: a ConfigMap with the config and files, and the RayJob.

    Raises ConfigError: no volume, files over a ConfigMap's size, an actor that fits on no node.
    """
    import yaml

    class Plain(yaml.SafeDumper):
        """Writes what is used twice twice: people read this, and edit it."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    claim, mount = _claim(options.claim)
    output = Path(packed.config.output_dir)
    folder = output if output.is_relative_to(mount) else Path(mount) / output.name
    config = replace(packed.config, output_dir=str(folder))
    name = _kubernetes_name(config.name)
    contents, items = _contents(config, packed.files)
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-files"},
        "binaryData": {key: base64.b64encode(data).decode() for key, data in contents.items()},
    }
    pod = _pod_maker(name, items, claim, mount, options)
    nodes = nodes_for(config, gpus_per_node=machines.gpus_per_node, cpus_per_node=machines.cpus_per_node)
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


def slurm(packed: Packed, command: str, machines: Machines, ports: Sequence[int] = (6379, 8265)) -> str:
    """A script for ``sbatch``: Ray's head on the first node, one raylet on each other one, the run on the first.

    The submit host's folder is taken to be on every node, as it is on most Slurm clusters; files are not copied. The
    token is the job's own, in a file for its owner alone. A job that is preempted is queued again and resumes.
    """
    config = packed.config
    nodes = nodes_for(config, gpus_per_node=machines.gpus_per_node, cpus_per_node=machines.cpus_per_node)
    lines = [
        f"#SBATCH --job-name={_kubernetes_name(config.name)}",
        f"#SBATCH --nodes={nodes.count}",
        "#SBATCH --ntasks-per-node=1",
        f"#SBATCH --cpus-per-task={nodes.cpus}",
        *([f"#SBATCH --gpus-per-node={nodes.gpus}"] if nodes.gpus else []),
        f"#SBATCH --mem={machines.memory_gib}G",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --signal=B:TERM@120",
    ]
    return _SLURM.format(
        sbatch="\n".join(lines),
        folder=shlex.quote(str(config.run_dir / "slurm")),
        command=command,
        port=ports[0],
        dashboard=ports[1],
        cpus=nodes.cpus,
        gpus=nodes.gpus,
        config=_heredoc(to_yaml(config)),
    )


_SLURM = """#!/bin/bash
{sbatch}
set -euo pipefail

# What only this job may read: Ray's token. Whoever has it can run code on these nodes.
umask 077
job={folder}
mkdir -p "$job"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$job/token-$SLURM_JOB_ID" RAY_USAGE_STATS_ENABLED=0
export SRUN_CPUS_PER_TASK={cpus}  # srun does not take it from sbatch
python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$RAY_AUTH_TOKEN_PATH"
cat > "$job/job.yaml" <<'{config}

nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
head=${{nodes[0]}}
address=$(srun --overlap --nodes=1 --ntasks=1 -w "$head" hostname -I | awk '{{print $1}}')
ray="ray start --block --disable-usage-stats --num-cpus={cpus} --num-gpus={gpus}"
end() {{ trap - TERM; kill $(jobs -p) 2> /dev/null || true; wait; rm -f "$RAY_AUTH_TOKEN_PATH"; }}
trap end EXIT

srun --overlap --nodes=1 --ntasks=1 -w "$head" $ray --head --node-ip-address="$address" --port={port} \\
  --include-dashboard=true --dashboard-port={dashboard} &
for node in "${{nodes[@]:1}}"; do
  srun --overlap --nodes=1 --ntasks=1 -w "$node" $ray --address="$address:{port}" &
done

# Every node is there, or the job says which number is missing: within five minutes.
python -m cluster.jobs.slurm_ready "$address:{port}" ${{#nodes[@]}} 300

srun --overlap --nodes=1 --ntasks=1 -w "$head" python -m cluster.cli {command} --recipe "$job/job.yaml" \\
  "cluster.address='$address:{port}'" &
run=$!
# Before the time limit, or when preempted: the run ends itself, and --requeue brings it back to its last checkpoint.
trap 'kill -TERM $run; wait $run || true; scontrol requeue "$SLURM_JOB_ID" || true; exit 143' TERM
code=0
wait $run || code=$?
exit $code
"""


def _heredoc(text: str) -> str:
    mark = "END_OF_CONFIG"
    while mark in text:
        mark += "_"
    return f"{mark}'\n{text.rstrip()}\n{mark}"


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


def _contents(config: Config, files: Mapping[str, Path]) -> tuple[dict[str, bytes], list[dict[str, str]]]:
    """Keys of a ConfigMap are flat: a number and the name; ``items`` say at which path each appears."""
    paths = {CONFIG_FILE: to_yaml(config).encode()}
    for place, source in files.items():
        inside = [source] if source.is_file() else [file for file in sorted(source.rglob("*")) if file.is_file()]
        for file in inside:
            paths[place if file == source else f"{place}/{file.relative_to(source)}"] = file.read_bytes()
    size = sum(len(data) * 4 // 3 + len(path) for path, data in paths.items())
    if size > CONFIG_MAP_BYTES:
        largest = max(paths, key=lambda path: len(paths[path]))
        raise ConfigError(
            f"--kuberay: {largest.removeprefix('files')} and what goes with it take {size:,} bytes, a ConfigMap holds "
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


def _kubernetes_name(name: str) -> str:
    """At most 40 characters: KubeRay adds to it, and a label holds 63."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "run"

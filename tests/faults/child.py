"""One run in a process of its own, with an accident: ``python -m tests.faults.child FOLDER NAME STEP WORKER KIND KEY=VALUE...``

STEP 0 is none. KIND ``node`` makes a cluster of two nodes and ends the second one, with the actors on it. Prints an
Outcome's numbers as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psutil

from cluster.console import INTERRUPTED
from tests.faults.runs import Outcome, fault_config, plan_of, run


def main(folder: str, name: str, step: str, worker: str, kind: str, *overrides: str) -> None:
    if kind == "node":
        outcome = _on_two_nodes(Path(folder), name, int(step), overrides)
    else:
        config = fault_config(Path(folder), name, *overrides)
        plan = plan_of(*([(int(step), worker, kind)] if int(step) else []))
        try:
            outcome = run(config, plan)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
    print(json.dumps({"digest": outcome.digest, "recovered_s": outcome.recovered_s}))


def _on_two_nodes(folder: Path, name: str, step: int, overrides: tuple[str, ...]) -> Outcome:
    """The head has room for all; Ray puts what it can on the other node first, which has room for two rollout workers."""
    import ray
    from ray.cluster_utils import Cluster

    fast = {"health_check_period_ms": 500, "health_check_failure_threshold": 4, "health_check_initial_delay_ms": 0}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 6, "_system_config": fast})
    second = nodes.add_node(num_cpus=2)
    ray.init(address=nodes.address, log_to_driver=False)
    try:
        busy = {}

        def end_node() -> None:
            busy.update(actors=_actors_of(second))
            nodes.remove_node(second, allow_graceful=False)

        outcome = run(fault_config(folder, name, *overrides), plan_of((step, "rollout worker 0", end_node)))
        assert busy["actors"], "nobody was on the node that was ended"
        return outcome
    finally:
        ray.shutdown()
        nodes.shutdown()


def _actors_of(node: Any) -> int:
    """Actors are children of their node's raylet, which names them after their class."""
    raylet = node.all_processes["raylet"][0].process.pid
    titles = ["".join(child.cmdline()) for child in psutil.Process(raylet).children()]
    return sum(title.startswith(("ray::Rollout", "ray::Reward", "ray::Rank")) for title in titles)


if __name__ == "__main__":
    main(*sys.argv[1:])

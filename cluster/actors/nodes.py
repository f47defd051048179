"""What every node of the Ray cluster does: one small actor a node, asked by a thread of the driver."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rl.errors import first_line

ANSWER_S = 5.0  # an actor that takes longer is left out of this reading
_log = logging.getLogger(__name__)


@contextmanager
def nodes_watched(every_s: float, tell: Callable[[Mapping[str, float]], None]) -> Iterator[None]:
    """In this block ``tell`` gets ``system/{node}/...`` of each node but the driver's own, every so many seconds.

    every_s: 0 is off. Without Ray, or on one node, nothing is started.
    """
    ray = sys.modules.get("ray")
    watch = _Watch(every_s, tell) if every_s and ray is not None and ray.is_initialized() else None
    if watch is None or not watch.names:
        yield
        return
    watch.thread.start()
    try:
        yield
    finally:
        watch.close()


class _Watch:
    def __init__(self, every_s: float, tell: Callable[[Mapping[str, float]], None]) -> None:
        import ray

        here = ray.get_runtime_context().get_node_id()
        others = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
        self.names = {node["NodeID"]: str(node["NodeManagerHostname"]) for node in others}
        own = next((node["NodeManagerHostname"] for node in ray.nodes() if node["NodeID"] == here), "")
        for number, name in self.names.items():
            if [own, *self.names.values()].count(name) > 1:  # several Ray nodes on one machine
                self.names[number] = f"{name}-{number[:6]}"
        self._every_s, self._tell = every_s, tell
        self._actors: dict[str, Any] = {}
        self._ended = threading.Event()
        self.thread = threading.Thread(target=self._ask_on, name="nodes", daemon=True)

    def close(self) -> None:
        import ray

        self._ended.set()
        self.thread.join(ANSWER_S + 1)
        for actor in self._actors.values():
            ray.kill(actor)

    def _ask_on(self) -> None:
        try:
            self._start()
            while not self._ended.wait(self._every_s):
                self._ask()
        except Exception as error:  # monitoring may end; the run does not notice
            _log.info("system metrics of the other nodes end: %s", first_line(error))

    def _start(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        kind: Any = ray.remote(_Node)
        for number, name in self.names.items():
            strategy = NodeAffinitySchedulingStrategy(number, soft=False)
            self._actors[number] = kind.options(num_cpus=0, scheduling_strategy=strategy).remote(name)

    def _ask(self) -> None:
        import ray

        asked = {actor.sample.remote(): number for number, actor in self._actors.items()}
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
        for answer in ready:
            try:
                self._tell(ray.get(answer))
            except Exception as error:  # a node that was lost is asked no more
                lost = asked[answer]
                _log.info("system metrics of %s end: %s", self.names[lost], first_line(error))
                self._actors.pop(lost, None)


class _Node:
    """On its node, for as long as the run watches."""

    def __init__(self, name: str) -> None:
        from rl.tracking.mlflow.machine import Node

        self._node = Node(name)

    def sample(self) -> dict[str, float]:
        return self._node.sample()

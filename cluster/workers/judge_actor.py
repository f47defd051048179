"""``judge.serve`` on Ray: an actor that supervises the server, with the reward workers on its machine.

The server listens on loopback alone, wherever in the cluster it is: what asks it is put beside it, rather than its port
opened to a network. Ray places the actor (``judge.gpus``), starts it again where its process is lost, and ends it with
the run; the server dies with the actor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.actors.process import enter
from cluster.actors.resources import Placement, selected
from cluster.actors.waiting import gather, kill
from cluster.workers.judge_server import TOKEN_ENV, JudgeServer, free_port, pointed_at
from rl.config import Config
from rl.output.secrets import Secret

WHO = "judge server"
_MARGIN_S = 60.0  # beyond the server's own deadline, for the actor's process to start
_CLOSE_S = 20.0


class JudgeActor:
    """A ``JudgeServer`` elsewhere. One that Ray starts again has its constructor alone, so that starts the server."""

    def __init__(self, config: Config, folder: str, token: Secret, port: int) -> None:
        enter(folder, config.run_dir, WHO)
        self._server = JudgeServer(config, token, port)
        self._server.launch()
        if ray.get_runtime_context().was_current_actor_reconstructed:
            self._server.watch()

    def ready(self) -> tuple[str, str]:
        """Its URL and its node, once it answers. Raises WorkerError or DeadlineError."""
        self._server.wait_ready()
        self._server.watch()
        return self._server.url, ray.get_runtime_context().get_node_id()

    def close(self) -> None:
        self._server.close()


@contextmanager
def judge_on_ray(config: Config, placement: Placement) -> Iterator[tuple[Config, Placement]]:
    """Config and placement with the judge in them while it serves; as they are where ``judge.serve`` is null.

    Raises WorkerError (it ended before it served) or DeadlineError.
    """
    judge = config.judge
    if judge.serve is None:
        yield config, placement
        return
    token = Secret(secrets.token_urlsafe(24))
    port = judge.port or (free_port() if config.cluster.address is None else 0)
    # One that comes back must be where the reward workers look for it, so only a port that was chosen here can come back.
    options = {
        "num_cpus": 0,
        "num_gpus": judge.gpus,
        "max_restarts": judge.restarts if port else 0,
        "max_concurrency": 2,
        **selected(config, "reward"),  # whose place is decided here
    }
    actor = ray.remote(JudgeActor).options(**options).remote(config, placement.folder, token, port)
    try:
        found = gather({actor.ready.remote(): WHO}, "starting", judge.start_deadline_s + _MARGIN_S)  # pyright: ignore
        url, node = found[WHO]
        reward = {name: value for name, value in placement.reward.items() if name != "label_selector"}
        reward["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        yield (
            pointed_at(config, url),
            dataclasses.replace(placement, reward=reward, secrets={TOKEN_ENV: token}),
        )
    finally:
        with contextlib.suppress(RayError):
            ray.get(actor.close.remote(), timeout=_CLOSE_S)  # pyright: ignore
        kill(actor)

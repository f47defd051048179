"""A run of one step whose marks say where the time from the command to its first rollout and first update goes.

    python -m benchmarks.bench.started MARKS.json [key=value ...]

Marks are seconds since 1970. It is a child of ``benchmarks.bench.starts``, which knows when the command was given.
"""

from __future__ import annotations

import time

BEGAN = time.time()

import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402
from unittest import mock  # noqa: E402


def main(arguments: list[str]) -> int:
    out, overrides = Path(arguments[0]), arguments[1:]
    marks = {"python": BEGAN}

    def mark(name: str) -> None:
        marks.setdefault(name, time.time())

    from benchmarks.speed.timeline import NotedRank, NotedWorkers
    from cluster.cli import runs
    from cluster.run import preflight, session
    from cluster.workers.on_ray import RayWorkers

    mark("imports")

    def after(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def marked(*args: Any, **kwargs: Any) -> Any:
            found = call(*args, **kwargs)
            mark(name)
            return found

        return marked

    ray_running, whole_session = session.ray_running, session.session

    @contextmanager
    def ray_marked(config: Any) -> Iterator[None]:
        (config.run_dir / "notes").mkdir(parents=True, exist_ok=True)  # where actors write down what they did
        with ray_running(config):
            mark("Ray")
            yield

    @contextmanager
    def session_marked(config: Any, **more: Any) -> Iterator[Any]:
        with whole_session(config, **more) as parts:
            mark("actors")
            yield parts

    with (
        mock.patch.object(preflight, "check", after("checks", preflight.check)),
        mock.patch.object(session, "ray_running", ray_marked),
        mock.patch.object(session, "session", session_marked),
        mock.patch.object(RayWorkers, "rollout_actors", NotedWorkers.rollout_actors),
        mock.patch.object(RayWorkers, "update_weights", after("weights", RayWorkers.update_weights)),
        mock.patch("cluster.learner.rank_group.RankGroup.rank_class", NotedRank),
    ):
        code = runs.train("tiny", [*overrides, "steps=1"])
    mark("end")
    out.write_text(json.dumps(marks))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

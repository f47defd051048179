"""A run of the tiny recipe whose MLflow server, with logins, is killed for a minute in the middle, and again before the end.

    python -m benchmarks.faults.mlflow_away [--out runs/away] [--steps 60] [--away 60] [--seed 0]

Needs ``pip install 'mlflow[auth]'``. Prints what a step took while the server was there and while it was away (medians with
the quarters), and what the server has after a replay: points and traces that are missing or there twice.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from benchmarks.faults.mlflow_server import PASSWORD, USER, RealServer
from benchmarks.learning.compare import NoCheckpoints
from benchmarks.speed.logging import INLINE, Clocks, Meter
from cluster.run.about import about
from cluster.run.folder import open_run
from cluster.run.preflight import check
from cluster.run.session import session
from rl.config import load_config
from rl.data.stream import PromptStream
from rl.loop import Parts, train
from rl.tracking.mlflow.replay import replay
from rl.tracking.mlflow.traces import choose

FIRST_KILL, LAST_KILL = 0.25, 0.9  # of the steps


@dataclass
class Accidents(Meter):
    """Kills the server before two of the steps. away: seconds of the first time; the second lasts."""

    server: RealServer | None = None
    steps: int = 0
    away_s: float = 60.0
    there: list[bool] = field(default_factory=list)
    back: threading.Thread | None = None

    def phase(self, text: str) -> None:
        if text == "training" and self.server is not None:
            done = len(self.starts)
            if done in (int(FIRST_KILL * self.steps), int(LAST_KILL * self.steps)):
                if self.back is not None:
                    self.back.join()
                self.server.kill()
                if self.back is None:
                    self.back = threading.Thread(target=self._bring_back, args=(self.server,), daemon=True)
                    self.back.start()
            self.there.append(self.server.process is not None)
        super().phase(text)

    def _bring_back(self, server: RealServer) -> None:
        time.sleep(self.away_s)
        server.start()


def run(out: Path, steps: int, away_s: float, seed: int) -> str:
    """One run, and its lines. out: a new folder."""
    out.mkdir(parents=True)
    os.environ |= {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    server = RealServer(out, auth=True)
    server.start()
    try:
        settings = [
            *INLINE,
            f"output_dir={out}",
            "name=run",
            f"seed={seed}",
            f"steps={steps}",
            "tracking.traces_freq=1",
        ]
        config = load_config("tiny", [*settings, f"tracking.uri={server.uri}"])
        inputs = check(config, needs_train=True, needs_val=False)
        with session(config) as parts:
            made = open_run(config, about(config, "train", "tiny", inputs), Console(file=io.StringIO()), steps)
            meter = Accidents(made, server=server, steps=steps, away_s=away_s)
            traced = _traced(meter, config.tracking.traces, config.seed)
            stream = PromptStream(config.data.train, config.seed, inputs.train)
            train(Parts(config, stream, (), parts.workers, parts.learner, meter, NoCheckpoints()))
        server.start()
        code = replay(config.run_dir)
        return "\n".join([*_times(meter), f"replay: exit code {code}", _kept(server, config.run_dir, steps, traced)])
    finally:
        server.kill()


def _traced(meter: Accidents, count: int, seed: int) -> Counter[tuple[str, str]]:
    """(step, prompt) of each trace that is to be there, filled while the run goes on."""
    found: Counter[tuple[str, str]] = Counter()
    inner = meter.rollouts

    def rollouts(step: int, groups: Sequence) -> None:
        found.update((str(step), groups[index].prompt.id) for index in choose(groups, count, seed, step))
        inner(step, groups)

    meter.rollouts = rollouts
    return found


def _times(meter: Accidents) -> list[str]:
    marks: list[Clocks] = [*meter.starts, *meter.end[:1]]
    steps = [
        (after.wall - before.wall, after.main - before.main) for before, after in zip(marks, marks[1:], strict=False)
    ]
    lines = []
    for is_there, name in ((True, "there"), (False, "away")):
        chosen = [step for step, there in zip(steps[1:], meter.there[1:], strict=False) if there is is_there]
        for what, values in (
            ("wall", [wall for wall, _ in chosen]),
            ("CPU of the main thread", [cpu for _, cpu in chosen]),
        ):
            low, middle, high = statistics.quantiles(values, n=4)
            lines.append(f"{name}, {len(values)} steps, {what}: {middle:.2f} s ({low:.2f} to {high:.2f})")
    return lines


def _kept(server: RealServer, run_dir: Path, steps: int, traced: Counter[tuple[str, str]]) -> str:
    from mlflow import MlflowClient

    client, known = MlflowClient(server.uri), json.loads((run_dir / "mlflow_run.json").read_text("utf-8"))
    run = client.get_run(known["run_id"])
    odd = [
        name
        for name in ("critic/rewards/mean", "actor/grad_norm", "timing_s/step", "5 speed/seconds a step")
        if [point.step for point in client.get_metric_history(run.info.run_id, name)] != list(range(1, steps + 1))
    ]
    there: Counter[tuple[str, str]] = Counter()
    token = None
    while token is None or token:
        some = client.search_traces(
            locations=[run.info.experiment_id], run_id=run.info.run_id, max_results=100, page_token=token
        )
        there.update((each.info.tags["step"], each.info.tags["prompt_id"]) for each in some if each.data.spans)
        token = some.token or ""
    return (
        f"run {run.info.status}; metrics without exactly one point a step: {odd or 'none'}; traces: {sum(there.values())} of "
        f"{sum(traced.values())}, missing {sum((traced - there).values())}, twice {sum((there - traced).values())}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/away"))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--away", type=float, default=60.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(run(given.out, given.steps, given.away, given.seed))


if __name__ == "__main__":
    main()

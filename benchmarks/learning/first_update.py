"""What the first inner update's own log-probs save of a learner's step: ``python -m benchmarks.learning.first_update``.

One step's rollouts of the recipe, sampled and scored once. Two learners take the same steps on them in turns: one as it is,
one with a pass of its own for every old log-prob. Forward passes and CPU-seconds of a step, median over the turns; the weights
afterwards are compared bit for bit.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from benchmarks.learning.seeds import INLINE
from cluster.learner.one_rank import make_learner
from cluster.run.preflight import check
from cluster.run.session import session
from rl.config import Config, load_config
from rl.data.stream import PromptStream
from rl.learner import update
from rl.learner.trained import weights_digest
from rl.learner.update import UniGRPOLearner
from rl.prepare import prepare
from rl.rollouts import sample_groups
from rl.types import Group, TrainBatch


def sampled(config: Config) -> list[Group]:
    """One step's groups."""
    stream = PromptStream(config.data.train, config.seed, check(config, needs_train=True, needs_val=False).train)
    with session(config) as parts:
        weights = parts.workers.update_weights(parts.learner, 0)
        return list(sample_groups(parts.workers, stream, weights, config, 0).chosen)


@contextmanager
def passes_of(learner: UniGRPOLearner) -> Iterator[list[int]]:
    count = [0]

    def add(*_: object) -> None:
        count[0] += 1

    handle = learner.policy.module.register_forward_hook(add)
    yield count
    handle.remove()


def step(learner: UniGRPOLearner, batch: TrainBatch, apart: bool) -> tuple[int, float]:
    """Forward passes of the policy, and CPU-seconds. apart: with a pass of its own for every old log-prob."""
    with passes_of(learner) as count, mock.patch.object(update, "same_masks", _none if apart else update.same_masks):
        began = time.process_time()
        learner.update(batch)
        return count[0], time.process_time() - began


def _none(data: object) -> int:
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--schedules", nargs="+", default=["full", "stratified", "matched"])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("overrides", nargs="*", help="key=value")
    arguments = parser.parse_args()
    common = [*INLINE, "learner.threads=1", "rollout.threads=1", *arguments.overrides]
    groups = sampled(load_config(arguments.recipe, common))
    columns = "schedule | passes before | passes | CPU-seconds before | CPU-seconds | less | same bits"
    print(f"| {columns} |\n|{'---|' * 7}")
    for schedule in arguments.schedules:
        config = load_config(arguments.recipe, [*common, f"learner.algorithm.schedule={schedule}"])
        batch = prepare(groups, config, 0)
        learners = {apart: make_learner(config) for apart in (True, False)}
        found: dict[bool, list[tuple[int, float]]] = {True: [], False: []}
        for turn in range(arguments.turns + 1):
            for apart in (True, False) if turn % 2 else (False, True):
                found[apart].append(step(learners[apart], batch, apart))
        seconds = {apart: statistics.median(second for _, second in found[apart][1:]) for apart in found}
        digests = {weights_digest(learner.policy.module.state_dict()) for learner in learners.values()}
        print(
            f"| {schedule} | {found[True][-1][0]} | {found[False][-1][0]} | {seconds[True]:.2f} | {seconds[False]:.2f} | "
            f"{1 - seconds[False] / seconds[True]:.0%} | {'yes' if len(digests) == 1 else 'no'} |"
        )


if __name__ == "__main__":
    main()

"""Ranks that must meet at every forward pass meet at every one, whatever their rollouts need.

Each rank is a thread here, and each pass waits for all ranks, as a gathering of sharded weights does: a pass more or less
on one of them breaks the wait at once. ``benchmarks.parity.sharded`` does the same with DeepSpeed's ranks.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from benchmarks.policy import bench_policy
from benchmarks.speed.rollout import Shape
from policies.policy import MaskedDiffusionPolicy
from rl.config import LearnerConfig, UniGRPOConfig
from rl.estimators import ESTIMATORS
from rl.learner import update
from rl.learner.engine import StepResult, TorchEngine
from rl.learner.reference import Reference
from rl.learner.update import UniGRPOLearner
from rl.masking import mask_ratios
from rl.types import MaskDraw, Task, TrainBatch
from tests.wide import wide

SHAPE = Shape(d_model=16, n_layers=1, n_heads=2, mlp_hidden_size=16, codebook=0)
MU, DEADLINE_S = 2, 20.0
# Response tokens of a batch's rollouts. Ranks take turns over them, one rollout a micro-batch.
LENGTHS = (
    (2, 9), (2, 40), (40, 2), (2, 30, 2, 40), (1, 40), (40, 1), (1, 2, 3), (1, 1), (3, 2, 1), (1, 1, 1, 40), (40, 1, 1, 1),
    (5, 5, 5, 5), (1,), (17,), (2, 1, 2, 1, 2), (30, 29, 28), (1, 3, 9, 27), (27, 9, 3, 1), (8, 1, 8, 1, 8, 1),
    (4, 4, 4, 1), (1, 12, 1, 12, 1), (6, 7), (20, 1, 1), (1, 1, 20), (10, 2, 33, 1, 2, 5),
)  # fmt: skip
ALL = ((2, 9), (1, 2, 3))  # where every estimator is tried


class Meeting:
    """Where the ranks wait for each other. Each says what it comes with; all must come with the same."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self._said: list[object] = [None] * ranks
        self._barrier = threading.Barrier(ranks, timeout=DEADLINE_S)

    def exchange(self, rank: int, value: object) -> list:
        self._said[rank] = value
        self._barrier.wait()
        found = list(self._said)
        self._barrier.wait()
        return found

    def together(self, rank: int, what: str) -> None:
        if len(set(self.exchange(rank, what))) > 1:
            raise AssertionError(f"rank {rank} makes a pass of the {what}, another rank does not")

    def leave(self) -> None:
        self._barrier.abort()


class ThreadEngine(TorchEngine):
    """One of several ranks; gradients add up over them."""

    sharded = True

    def __init__(self, meeting: Meeting, rank: int, policy: MaskedDiffusionPolicy, config: LearnerConfig) -> None:
        super().__init__(policy.module, config, 8)
        self.meeting, self.rank, self.world_size = meeting, rank, meeting.ranks

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        everyone = self.meeting.exchange(self.rank, list(values))
        return [sum(column) for column in zip(*everyone, strict=True)]

    def step(self) -> StepResult:
        for parameter in self.module.parameters():
            own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = torch.stack(self.meeting.exchange(self.rank, own)).sum(0)
        return super().step()


def watched(policy: MaskedDiffusionPolicy, meeting: Meeting, rank: int, name: str) -> MaskedDiffusionPolicy:
    plain = policy.hidden

    def hidden(*args, **kwargs):
        meeting.together(rank, name)
        return plain(*args, **kwargs)

    policy.hidden = hidden  # pyright: ignore[reportAttributeAccessIssue]
    return policy


def batch(lengths: Sequence[int], schedule: str) -> TrainBatch:
    chance = np.random.default_rng(len(lengths) + 100 * lengths[0])
    prompts = [int(chance.integers(1, 6)) for _ in lengths]
    rows = [chance.integers(16, 48, prompt + length) for prompt, length in zip(prompts, lengths, strict=True)]
    count, ratios = len(lengths), mask_ratios(schedule, MU, 3)
    return TrainBatch(
        token_ids=tuple(rows),
        response_mask=tuple(np.arange(len(row)) >= prompt for row, prompt in zip(rows, prompts, strict=True)),
        advantages=chance.normal(size=count).astype(np.float32),
        mask_draws=tuple(tuple(MaskDraw(97 * n + i, ratio) for i in range(count)) for n, ratio in enumerate(ratios)),
        tasks=(Task.TEXT,) * count,
        step_maps=tuple(chance.integers(0, max(1, length // 2), length).astype(np.int32) for length in lengths),
        confidences=tuple(np.linspace(0.1, 1, length, dtype=np.float32) for length in lengths),
        entropies=tuple(np.linspace(2, 0, length, dtype=np.float32) for length in lengths),
    )  # fmt: skip


def train(lengths: Sequence[int], algorithm: UniGRPOConfig, ranks: int) -> list[tuple[list[float], np.ndarray]]:
    """What each rank ends with: its losses, and its weights in a row."""
    meeting = Meeting(ranks)
    config = LearnerConfig(
        algorithm, lr=1e-2, threads=1, micro_batch_size_per_gpu=2 if algorithm.objective == "dpo" else 1
    )

    def one(rank: int) -> tuple[list[float], np.ndarray]:
        policy = bench_policy(SHAPE, 48, seed=1)
        reference = Reference(policy)
        assert isinstance(reference.policy, MaskedDiffusionPolicy)
        watched(reference.policy, meeting, rank, "reference")
        engine = ThreadEngine(meeting, rank, policy, config)
        learner = UniGRPOLearner(watched(policy, meeting, rank, "policy"), engine, config, reference)
        try:
            metrics = learner.update(batch(lengths, algorithm.schedule)).metrics
        except BaseException:
            meeting.leave()
            raise
        weights = np.concatenate([value.ravel() for value in learner.weights().values()])
        return [metrics["actor/pg_loss"], metrics.get("actor/kl_loss", 0.0)], weights

    with ThreadPoolExecutor(ranks) as pool:
        return [each.result() for each in [pool.submit(one, rank) for rank in range(ranks)]]


@pytest.mark.parametrize("lengths", wide(LENGTHS, 5), ids=lambda lengths: "-".join(map(str, lengths)))
def test_on_two_and_three_ranks_as_on_one(lengths: tuple[int, ...]) -> None:
    place, names = LENGTHS.index(lengths), [*ESTIMATORS]
    if lengths not in ALL:  # one of them, by turns
        names = [names[place % len(names)]]
    for index, estimator in enumerate(names):
        schedule = ("stratified", "full", "random")[(place + index) % 3]  # full: neighbouring updates share a pass
        algorithm = UniGRPOConfig(estimator=estimator, schedule=schedule, mu=MU, kl_coef=0.05)
        (expected, weights), *_ = train(lengths, algorithm, 1)
        for found, theirs in train(lengths, algorithm, 2 + (place + index) % 2):
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-5), estimator
            assert np.abs(theirs - weights).max() < 1e-4, estimator


@pytest.mark.parametrize("lengths", [(2, 40, 1, 1), (1, 1, 40, 40), (9, 1, 2, 30, 1, 7)], ids=str)
@pytest.mark.parametrize("estimator", wide(["elbo", "elbo_antithetic", "trajectory"], 2))
def test_pairs_meet_too(lengths: tuple[int, ...], estimator: str) -> None:
    algorithm = UniGRPOConfig(estimator=estimator, objective="dpo", mu=MU, kl_coef=0.05)
    (expected, weights), *_ = train(lengths, algorithm, 1)
    for found, theirs in train(lengths, algorithm, 2):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5) and np.abs(theirs - weights).max() < 1e-4


@pytest.mark.parametrize(
    ("estimator", "schedule", "lengths"),
    [
        ("trajectory", "stratified", (2, 40)),  # as many passes as the longest path of the rank's own
        ("left_to_right", "stratified", (2, 30, 2, 40)),
        ("coupled", "stratified", (1, 12)),  # the second pass of one token scores nothing
        ("masked", "stratified", (1, 40)),  # two updates hide the same of one token, and not of forty
    ],
)
def test_ranks_that_do_not_agree_part(
    monkeypatch: pytest.MonkeyPatch, estimator: str, schedule: str, lengths: tuple[int, ...]
) -> None:
    """Each cause by itself: with the agreement taken out, the meeting above breaks."""
    monkeypatch.setattr(update, "agree", lambda minis, engine: minis)
    with pytest.raises((threading.BrokenBarrierError, AssertionError)):
        train(lengths, UniGRPOConfig(estimator=estimator, schedule=schedule, mu=MU, kl_coef=0.05), 2)

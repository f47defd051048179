"""Rollouts of many lengths in one micro-batch: padded, packed, and packed with one block-diagonal mask.

CPU-seconds of the forward and backward pass of one inner update of the learner (``rl.learner.update``), the same random weights,
rollouts and masks, one thread, taking turns. ``mask`` is the way that was not taken: the same stream of tokens, but one
attention over all of it, whose mask lets no sequence see another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.learner import Gradients, Shape, bench_batch, bench_policy
from policies.network.packed_sequences import Attend, Packing, pack_sequences
from rl.config import LearnerConfig, UniGRPOConfig
from rl.learner.microbatches import collate
from rl.learner.update import UniGRPOLearner

LENGTHS = (192, 24, 48, 160, 96, 32, 120, 64)  # response tokens, after prompts of equal length
WAYS = ("padded", "packed", "mask")


def case(shape: Shape, vocabulary: int, repeats: int, lengths: tuple[int, ...] = LENGTHS) -> dict[str, Any]:
    """What ``unigrpo bench learner`` writes as its case ``packing``."""
    shape = replace(shape, responses=lengths)
    policy, batch = bench_policy(shape, vocabulary), bench_batch(shape, vocabulary)
    config = LearnerConfig(UniGRPOConfig(mu=4, kl_coef=0.0), threads=1, logits_mib=shape.logits_mib)
    learner = UniGRPOLearner(policy, Gradients(policy.module), config)
    share = 1 / len(lengths)
    data = collate(batch, [(i, share) for i in range(len(lengths))], torch.device("cpu"), config.algorithm)

    def turn(way: str) -> float:
        policy.module.zero_grad(set_to_none=True)
        begin = time.process_time()
        with attending(way):
            pack_sequences(policy.module, way != "padded")
            learner.backward(data, 2)
        return round(time.process_time() - begin, 4)

    gradients = {way: (turn(way), _gradient(policy.module))[1] for way in WAYS}
    turns = [{way: turn(way) for way in WAYS} for _ in range(repeats)]
    norm = gradients["padded"].norm()
    assert data.attention is not None
    return {
        "case": "packing",
        "vocabulary": vocabulary,
        "padding_share": 1 - float(data.attention.float().mean()),
        "plain_cpu_s": [each["padded"] for each in turns],
        "ours_cpu_s": [each["packed"] for each in turns],
        "mask_cpu_s": [each["mask"] for each in turns],
        "speedup": median(each["padded"] / each["packed"] for each in turns),
        "speedup_of_mask": median(each["padded"] / each["mask"] for each in turns),
        "gradient_relative_error": float((gradients["packed"] - gradients["padded"]).norm() / norm),
    }


@contextmanager
def attending(way: str) -> Iterator[None]:
    """Attention of packed sequences in another way, for as long as it is measured."""
    ours: Callable[..., Tensor] = Packing.attend
    if way == "mask":
        Packing.attend = _with_one_mask  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        Packing.attend = ours  # pyright: ignore[reportAttributeAccessIssue]


def _with_one_mask(self: Packing, q: Tensor, k: Tensor, v: Tensor, attend: Attend) -> Tensor:
    owner = [torch.repeat_interleave(torch.arange(len(of)), torch.tensor(of)) for of in (self.queries, self.keys)]
    return attend(q, k, v, (owner[0][:, None] == owner[1][None])[None, None])


def _gradient(module: torch.nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])

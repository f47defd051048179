"""A batch is the same on the other side, and small on the way."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np

from cluster.learner.batch_wire import ARRAYS, from_wire, to_wire
from cluster.learner.one_rank import FrozenLearner
from cluster.workers.inline import InlineWorkers
from rl.prepare import prepare
from rl.types import MaskDraw, TrainBatch
from tests.cluster.runs import PROMPTS, make_config


def assert_same(left: TrainBatch, right: TrainBatch) -> None:
    for field in dataclasses.fields(TrainBatch):
        ours, theirs = getattr(left, field.name), getattr(right, field.name)
        if field.name in ARRAYS:
            assert len(ours) == len(theirs)
            assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
        elif isinstance(ours, np.ndarray):
            assert np.array_equal(ours, theirs)
        else:
            assert ours == theirs


def test_a_batch_is_the_same_on_the_other_side(home: Path) -> None:
    config = make_config(home)
    workers = InlineWorkers(config)
    groups = workers.rollout_and_score(PROMPTS, workers.update_weights(FrozenLearner(config), 1), seed=5)
    batch = prepare(groups, config, 0, weight_version=2)
    assert len(batch.confidences) == len(batch.entropies) == len(batch)
    block, blocks = MaskDraw(2**63 - 1, 0.25, 4), MaskDraw(1, 0.5, None, (4, 4, 2))
    rows = ((block, *(blocks,) * (len(batch) - 1)), (blocks,) * len(batch))
    for each in (batch, dataclasses.replace(batch, mask_draws=rows)):
        sent = pickle.dumps(to_wire(each))
        assert_same(from_wire(pickle.loads(sent)), each)
        assert len(sent) < len(pickle.dumps(each))


def test_an_empty_batch_is_one_too(home: Path) -> None:
    empty = prepare([], make_config(home), 0, weight_version=2)
    assert not len(empty)
    assert_same(from_wire(pickle.loads(pickle.dumps(to_wire(empty)))), empty)

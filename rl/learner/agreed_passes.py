"""Where a forward pass is a collective, all ranks make the same passes, whatever their rollouts need.

A sharded engine gathers a layer's weights from all ranks when the layer is called (ZeRO stage 3, arXiv 1910.02054, section
5.3). A rank that made a pass more or less than the others would wait for them for good, or gather another layer than they do.
Rollouts differ: in how many passes their estimate takes, in which of these score a token of theirs, and in which inner updates
have equal masks. So the ranks agree before the first pass, by one sum over a short vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rl.learner.engine import Engine
from rl.learner.microbatches import MicroBatch
from rl.learner.tally import max_over_ranks


def agree(minis: Sequence[Sequence[MicroBatch]], engine: Engine) -> list[list[MicroBatch]]:
    """The micro-batches of all mini-batches with passes that are the same on every rank. A collective.

    Each has as many passes as the rank that needs most, the added ones empty. Inner update n goes without log-probs of its
    own only where its masks are those of update n - 1 on all ranks. One rank, or whole weights: nothing changes.
    """
    if engine.world_size == 1 or not engine.sharded:
        return [list(mini) for mini in minis]
    own = [[data.hidden.shape[1], *map(int, data.fresh)] for mini in minis for data in mini]
    largest = iter(max_over_ranks(engine, [float(value) for row in own for value in row]))
    return [[_as_agreed(data, [next(largest) for _ in (0, *data.fresh)]) for data in mini] for mini in minis]


def _as_agreed(data: MicroBatch, agreed: Sequence[float]) -> MicroBatch:
    passes, *fresh = agreed
    return replace(
        data,
        hidden=_padded(data.hidden, int(passes)),
        term_weights=_padded(data.term_weights, int(passes)),
        fresh=tuple(map(bool, fresh)),
        collective=True,
    )


def _padded(values: Tensor, passes: int) -> Tensor:
    """[N, K, b, L] -> [N, passes, b, L]"""
    more = values.new_zeros(len(values), passes - values.shape[1], *values.shape[2:])
    return torch.cat([values, more], dim=1)

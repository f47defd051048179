"""What an objective must know of all rollouts of an update: sums over its micro-batches and over all ranks.

A loss of a micro-batch sees its own rollouts. Where it is divided by a sum over the update, or compares with a mean over a
group, that number is found first, by a pass without gradients over every micro-batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rl.learner.engine import Engine
from rl.objectives.base import sums_by_group


def totals_by_group(engine: Engine, parts: Sequence[tuple[Tensor, Tensor]], count: int) -> Tensor:
    """[count, k] float64. A collective: every rank calls it with its own micro-batches.

    parts   of each micro-batch: values [b, k], and which group each rollout is of [b]
    count   groups of the whole batch, the same on every rank
    """
    sums = torch.stack([sums_by_group(values, groups, count) for values, groups in parts]).sum(0)
    summed = engine.all_reduce_sum(sums.flatten().tolist())
    return torch.tensor(summed, dtype=torch.float64, device=sums.device).view(sums.shape)

"""Rows with worked answers among a training step's rollouts (LaViDa-R1, arXiv 2602.14147)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from policies.base import Policy
from rl.config import Config
from rl.seeds import derive_seed
from rl.sft.examples import ExampleMaker
from rl.sft.steps import batch_loss
from rl.types import Prompt


class SupervisedRows:
    """Implements ``rl.learner.supervised.Supervised`` as fine-tuning does: its examples and its loss."""

    def __init__(self, policy: Policy, config: Config) -> None:
        self._policy, self._maker = policy, ExampleMaker(policy, config)

    def loss(self, prompts: Sequence[Prompt], weights: Sequence[float], seed: int) -> Tensor:
        """Sum over prompts of weight times the mean cross-entropy of their hidden tokens.

        What is hidden of a row depends on the seed and its id alone, not on its neighbours or its rank.
        """
        examples = [self._maker.make(row, np.random.default_rng(derive_seed(seed, row.id))) for row in prompts]
        return batch_loss(self._policy, examples, weights)

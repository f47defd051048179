"""What an estimator of a response's log-likelihood is: what the policy is shown, and how its answers are put together.

A masked-diffusion policy gives log p(token | what is shown of the rest). Every published estimate of log p(response |
prompt) is a weighted choice of such terms, and a choice of what is shown. Shapes: K forward passes, b rollouts, L
response tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rl.errors import ConfigError
from rl.registry import Takes, part, resolve

if TYPE_CHECKING:
    from torch import Tensor


class EstimatorConfig(Protocol):
    """What estimators read of ``rl.config.UniGRPOConfig``."""

    @property
    def schedule(self) -> str: ...
    @property
    def estimator_samples(self) -> int | None: ...
    @property
    def trajectory_shrink(self) -> int: ...
    @property
    def spg_beta(self) -> float: ...
    @property
    def spg_mixture(self) -> float: ...
    @property
    def prompt_mask_prob(self) -> float: ...
    @property
    def control_variate(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Views:
    """K forward passes over one response of L tokens. All of it is a pure function of seeds and of the rollout.

    hidden   [K, L] bool: the tokens that a pass hides from the policy
    weights  [K, L] float32: of log p(token | what the pass shows); 0 where the pass does not score the token, and something
             else only where the token is hidden
    scale    times the sum of all tokens' values: the estimate of log p(response | prompt)
    """

    hidden: np.ndarray
    weights: np.ndarray
    scale: float = 1.0

    def check(self, estimator: str, length: int) -> None:
        """Raises ConfigError where an estimator of a package gives something else than the above for L = length."""
        hidden, weights = np.asarray(self.hidden), np.asarray(self.weights)
        where = f"estimator {estimator!r}: a response of {length} tokens: "
        for name, values in (("hidden", hidden), ("weights", weights)):
            if values.ndim != 2 or values.shape[1] != length or not len(values):
                raise ConfigError(
                    f"{where}{name} has shape {values.shape}; allowed: (passes, {length}), 1 pass or more"
                )
        if hidden.shape != weights.shape:
            raise ConfigError(f"{where}hidden has shape {hidden.shape}, weights has {weights.shape}; must be the same")
        if not np.isfinite(weights).all():
            raise ConfigError(f"{where}weights holds NaN or infinity; allowed: finite numbers")
        if (weights[~hidden.astype(bool)] != 0).any():
            raise ConfigError(f"{where}weights is not 0 at a token that is shown; only hidden tokens are scored")


@dataclass(frozen=True, slots=True)
class Revealed:
    """How sure the policy was of each response token when it was revealed, as in ``rl.types.Sample``. Both [L] float32."""

    confidence: np.ndarray
    entropy: np.ndarray


# (draw, step that revealed each response token [L], config) -> views; with Estimator.revealed also ``Revealed``, or None
MakeViews = Callable[..., Views]
# (log-probs [K, b, L], 0 where not scored; weights [K, b, L]; advantages [b]; config) -> each token's value [b, L]
Combine = Callable[["Tensor", "Tensor", "Tensor", EstimatorConfig], "Tensor"]


def weighted_sum(logp: Tensor, weights: Tensor, advantages: Tensor, config: EstimatorConfig) -> Tensor:
    """sum over passes of weight * log p: the value of each token, [b, L]."""
    return (weights.to(logp.dtype) * logp).sum(0)


@dataclass(frozen=True, slots=True)
class Estimator:
    """An estimator of a response's log-likelihood, with what it can do.

    views    what each forward pass hides and scores
    combiner  how the passes' log-probs become a token's value, or ``module:attribute`` of it where that needs torch
    pairs     masks come in pairs, so that ``estimator_samples`` is even
    blocks    it reads ``spg_block_length``
    ratios    its masks hide the share that ``schedule`` says
    states    it knows schedules whose masks are states of the sampler
    by_block  it goes by the steps of sampling, which count within a block where the policy is block-causal: such a policy
              sees the blocks before a block as they were written, so that one pass serves all blocks
    revealed  its views have a fourth argument: how sure the policy was of the tokens. Rollouts must carry that
    even      over its draws, scale times a token's weights, summed over the passes, has a mean of 1 for each token: what the
              control variate needs

    The config's checks read an estimator, so that its file imports no torch.
    """

    views: MakeViews = field(metadata=part(Takes(3)))
    combiner: Combine | str = field(default=weighted_sum, metadata=part(Takes(4)))
    pairs: bool = False
    blocks: bool = False
    ratios: bool = False
    states: bool = False
    by_block: bool = False
    revealed: bool = False
    even: bool = False

    @property
    def combine(self) -> Combine:
        return resolve(self.combiner)

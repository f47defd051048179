"""Remasking rules: how sure a sampler is of a candidate. The surest candidates of a step stay, the others are masked again.

The config's checks read this file, so that it imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rl.registry import Takes, part

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class RowStatistics:
    """Statistics of M rows of logits.

    token [M] int64; of the plain distribution, all [M] float32: the token's probability, the entropy
    in nats, and the lead of the likeliest token over the next."""

    token: Tensor
    probability: Tensor
    entropy: Tensor
    margin: Tensor


@dataclass(frozen=True, slots=True)
class Remasking:
    """A rule that says which tokens are revealed first.

    confidence  logits [M, V], probability of the candidate [M], uniform noise [M] -> [M] in 0..1, the surest highest
    of_row      the same from a row's statistics and noise [M], as a GPU's kernel finds them; None: it needs the logits
    random      the order is noise, so that the sampler is never sure
    alone       each mask is revealed with the schedule's chance, whatever the others do: no number is kept
    noised      confidence [M] -> what noise on the order of text is added to [M]
    """

    confidence: Callable[[Tensor, Tensor, Tensor], Tensor] = field(metadata=part(Takes(3)))
    of_row: Callable[[RowStatistics, Tensor], Tensor] | None = field(default=None, metadata=part(Takes(2)))
    random: bool = False
    alone: bool = False
    noised: Callable[[Tensor], Tensor] = field(default=lambda confidence: confidence, metadata=part(Takes(1)))


def _low_confidence(logits: Tensor, probability: Tensor, noise: Tensor) -> Tensor:
    """LLaDA (arXiv 2502.09992, algorithm 5), MaskGIT: the candidate's own probability."""
    return probability


def _random(logits: Tensor, probability: Tensor, noise: Tensor) -> Tensor:
    """LLaDA (arXiv 2502.09992, algorithm 4): any order."""
    return noise


def _entropy(logits: Tensor, probability: Tensor, noise: Tensor) -> Tensor:
    """Least entropy first (Dream, arXiv 2508.15487), as exp(-entropy): 1 where there is no doubt."""
    logp = logits.float().log_softmax(-1)
    return (logp.exp() * logp).nan_to_num(0.0).sum(-1).exp()


def _margin(logits: Tensor, probability: Tensor, noise: Tensor) -> Tensor:
    """Largest lead of the likeliest token over the next first (arXiv 2502.06768, section 4)."""
    best = logits.float().softmax(-1).topk(2, dim=-1).values
    return best[:, 0] - best[:, 1]


LOW_CONFIDENCE = Remasking(_low_confidence, of_row=lambda row, noise: row.probability)
RANDOM = Remasking(_random, of_row=lambda row, noise: noise, random=True)
ORIGIN = Remasking(_random, of_row=lambda row, noise: noise, random=True, alone=True)  # D3PM (arXiv 2107.03006)
# Dream adds its noise to the negative entropy itself.
ENTROPY = Remasking(
    _entropy, of_row=lambda row, noise: (-row.entropy).exp(), noised=lambda confidence: confidence.log()
)
MARGIN = Remasking(_margin, of_row=lambda row, noise: row.margin)

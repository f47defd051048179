"""Log-probs of masked rows from hidden states, without ever holding all of their logits.

At a vocabulary of 100,000 the logits of a micro-batch outweigh every activation of the network. Here they exist a chunk
of rows at a time, and none is kept for the backward pass. Two ways: ``linear_log_probs`` forms each chunk again when
its gradient is asked for (one matrix product in four is extra); ``linear_loss`` knows the loss, so that it takes a
chunk's gradient while its logits are there, and nothing is computed twice. The idea of the second is that of fused
linear cross-entropy (Liger kernel, arXiv 2410.10989, section 3.2), for any loss that is separable by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

# Derivative of the loss by each row's log-prob: (rows from .. to, their log-probs [m]) -> [m].
Slope = Callable[[slice, Tensor], Tensor]


def chunks(rows: int, size: int) -> Iterator[slice]:
    """Even chunks of at most ``size`` rows."""
    count = max(1, -(-rows // size))
    return (slice(rows * part // count, rows * (part + 1) // count) for part in range(count))


def linear_log_probs(
    hidden: Tensor, weight: Tensor, targets: Tensor, size: int, with_entropy: bool = False
) -> tuple[Tensor, Tensor]:
    """log softmax(hidden @ weight.T) at targets: [M, D], [V, D], [M] -> [M], differentiable in the first two.

    And the sum of the M entropies, detached; NaN where it was not asked for.
    """
    return _LogProbs.apply(hidden, weight, targets, size, with_entropy)  # pyright: ignore[reportReturnType]


def linear_loss(
    hidden: Tensor, weight: Tensor, targets: Tensor, size: int, slope: Slope
) -> tuple[Tensor, Tensor, Tensor]:
    """A scalar of value 0 whose gradient in hidden and weight is the loss's; log-probs [M]; the sum of M entropies.

    The last two are detached. Add the scalar to the loss's value.
    """
    return _Loss.apply(hidden, weight, targets, size, slope)  # pyright: ignore[reportReturnType]


def _chunk(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised log-probs [m, V], in float32 at least, and those of the targets [m]."""
    logits = hidden @ weight.T
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logits -= logits.logsumexp(-1, keepdim=True)
    return logits, logits.gather(1, targets[:, None]).squeeze(1)


class _Gradient:
    """Gathers the gradients of hidden [M, D] and weight [V, D] chunk by chunk. A frozen weight has none."""

    def __init__(self, hidden: Tensor, weight: Tensor, wanted: bool) -> None:
        self.hidden, self.weight = hidden, weight
        self.of_hidden = torch.empty_like(hidden)
        self.of_weight: Tensor | None = None
        self.wanted, self.kept = wanted, torch.promote_types(weight.dtype, torch.float32)

    def add(self, rows: slice, probabilities: Tensor, targets: Tensor, slopes: Tensor) -> None:
        """probabilities [m, V] are overwritten; slopes [m] is the loss's derivative by each log-prob."""
        # d logp_target / d logits = onehot(target) - p
        by_logits = probabilities.mul_(-slopes[:, None])
        by_logits.scatter_add_(1, targets[:, None], slopes[:, None].to(by_logits.dtype))
        by_logits = by_logits.to(self.weight.dtype)
        torch.mm(by_logits, self.weight, out=self.of_hidden[rows])
        if self.wanted:
            terms = by_logits.T.to(self.kept), self.hidden[rows].to(self.kept)
            self.of_weight = torch.mm(*terms) if self.of_weight is None else self.of_weight.addmm_(*terms)


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, size: int, with_entropy: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(hidden, weight, targets)
        ctx.size = size
        found, entropy = [], _no_entropy(hidden)
        for rows in chunks(len(targets), size):
            logp, of_targets = _chunk(hidden[rows], weight, targets[rows])
            found.append(of_targets)
            if with_entropy:
                entropy -= torch.dot(logp.exp().flatten(), logp.flatten())
        entropy = entropy if with_entropy else entropy * torch.nan
        ctx.mark_non_differentiable(entropy)
        return torch.cat(found), entropy

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets = ctx.saved_tensors
        gradient = _Gradient(hidden, weight, ctx.needs_input_grad[1])
        for rows in chunks(len(targets), ctx.size):
            logp, _ = _chunk(hidden[rows], weight, targets[rows])
            gradient.add(rows, logp.exp_(), targets[rows], slopes[0][rows])
        return gradient.of_hidden, _cast(gradient.of_weight, weight), None, None, None


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, size: int, slope: Slope
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradient = _Gradient(hidden, weight, ctx.needs_input_grad[1])
        found, entropy = [], _no_entropy(hidden)
        for rows in chunks(len(targets), size):
            logp, of_targets = _chunk(hidden[rows], weight, targets[rows])
            probabilities = logp.exp()
            entropy -= torch.dot(probabilities.flatten(), logp.flatten())
            gradient.add(rows, probabilities, targets[rows], slope(rows, of_targets))
            found.append(of_targets)
        ctx.save_for_backward(gradient.of_hidden)
        ctx.of_weight = _cast(gradient.of_weight, weight)  # the gradient itself, not something kept to make it
        values = torch.cat(found)
        ctx.mark_non_differentiable(values, entropy)
        return entropy.new_zeros(()), values, entropy

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        factor, (of_hidden,), of_weight = upstream[0], ctx.saved_tensors, ctx.of_weight
        ctx.of_weight = None
        assert factor is not None
        # Not at all where the factor is 1, and in place: the weight's gradient is as large as the weight.
        if float(factor) != 1.0:
            of_hidden = of_hidden * factor
            of_weight = None if of_weight is None else of_weight.mul_(factor)
        return of_hidden, of_weight, None, None, None


def _no_entropy(hidden: Tensor) -> Tensor:
    return hidden.new_zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32))


def _cast(gradient: Tensor | None, weight: Tensor) -> Tensor | None:
    return None if gradient is None else gradient.to(weight.dtype)

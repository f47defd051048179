"""Log-probs of masked rows from hidden states, without ever holding all of their logits.

At a vocabulary of 100,000 the logits of a micro-batch outweigh every activation of the network. Here they exist a chunk
of states at a time, and none is kept for the backward pass. Two ways: ``linear_log_probs`` forms each chunk again when
its gradient is asked for (one matrix product in four is extra); ``linear_loss`` knows the loss, so that it takes a
chunk's gradient while its logits are there, and nothing is computed twice. The idea of the second is that of fused
linear cross-entropy (Liger kernel, arXiv 2410.10989, section 3.2), for any loss that is separable by row.

A state may predict many targets, as under a full mask, where the rollouts of a group differ in their targets alone: its
logits are formed once. Shapes: S states, M targets, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Derivative of the loss by each target's log-prob: (which of the M targets [m], their log-probs [m]) -> [m].
Slope = Callable[[Tensor, Tensor], Tensor]


def chunks(rows: int, size: int) -> Iterator[slice]:
    """Even chunks of at most ``size`` rows."""
    count = max(1, -(-rows // size))
    return (slice(rows * part // count, rows * (part + 1) // count) for part in range(count))


@dataclass(frozen=True, slots=True)
class Targets:
    """ids [M] in the vocabulary, and source [M]: which of the S states predicts each."""

    ids: Tensor
    source: Tensor

    def by_chunk(self, states: int, size: int) -> Iterator[tuple[slice, Tensor]]:
        """Chunks of at most ``size`` states, and which targets theirs are."""
        parts = list(chunks(states, size))
        order = self.source.argsort(stable=True)
        starts = torch.bincount(self.source, minlength=states).cumsum(0)
        ends = starts[torch.tensor([part.stop - 1 for part in parts], device=starts.device)].tolist() if states else [0]
        return ((part, order[first:last]) for part, first, last in zip(parts, [0, *ends], ends, strict=False))


def linear_log_probs(
    hidden: Tensor, weight: Tensor, targets: Targets, size: int, with_entropy: bool = False
) -> tuple[Tensor, Tensor]:
    """log softmax(hidden @ weight.T) at the targets: [S, D], [V, D] -> [M], differentiable in the first two.

    And the sum of the M entropies, detached; NaN where it was not asked for.
    """
    return _LogProbs.apply(hidden, weight, targets, size, with_entropy)  # pyright: ignore[reportReturnType]


def linear_loss(
    hidden: Tensor, weight: Tensor, targets: Targets, size: int, slope: Slope
) -> tuple[Tensor, Tensor, Tensor]:
    """A scalar of value 0 whose gradient in hidden and weight is the loss's; log-probs [M]; the sum of M entropies.

    The last two are detached. Add the scalar to the loss's value.
    """
    return _Loss.apply(hidden, weight, targets, size, slope)  # pyright: ignore[reportReturnType]


def _chunk(hidden: Tensor, weight: Tensor) -> Tensor:
    """Normalised log-probs [s, V], in float32 at least."""
    logits = hidden @ weight.T
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logits -= logits.logsumexp(-1, keepdim=True)
    return logits


def _entropies(logp: Tensor, probabilities: Tensor, source: Tensor) -> Tensor:
    """The sum over a chunk's targets of the entropy of their state, all [s, V]."""
    return -torch.einsum("sv,sv->s", probabilities, logp)[source].sum()


class _Gradient:
    """Gathers the gradients of hidden [S, D] and weight [V, D] chunk by chunk. A frozen weight has none."""

    def __init__(self, hidden: Tensor, weight: Tensor, wanted: bool) -> None:
        self.hidden, self.weight = hidden, weight
        self.of_hidden = torch.empty_like(hidden)
        self.of_weight: Tensor | None = None
        self.wanted, self.kept = wanted, torch.promote_types(weight.dtype, torch.float32)

    def add(self, states: slice, probabilities: Tensor, ids: Tensor, source: Tensor, slopes: Tensor) -> None:
        """probabilities [s, V] are overwritten; ids, source (in the chunk) and slopes [m] are of its targets; a slope is
        the loss's derivative by a log-prob."""
        # d logp_target / d logits = onehot(target) - p, and a state's targets add up
        slopes = slopes.to(probabilities.dtype)
        together = slopes.new_zeros(len(probabilities)).index_add_(0, source, slopes)
        by_logits = probabilities.mul_(-together[:, None]).index_put_((source, ids), slopes, accumulate=True)
        by_logits = by_logits.to(self.weight.dtype)
        torch.mm(by_logits, self.weight, out=self.of_hidden[states])
        if self.wanted:
            terms = by_logits.T.to(self.kept), self.hidden[states].to(self.kept)
            self.of_weight = torch.mm(*terms) if self.of_weight is None else self.of_weight.addmm_(*terms)


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Targets, size: int, with_entropy: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(hidden, weight, targets.ids, targets.source)
        ctx.size = size
        found, entropy = _values(hidden, targets), _no_entropy(hidden)
        for states, which in targets.by_chunk(len(hidden), size):
            source = targets.source[which] - states.start
            logp = _chunk(hidden[states], weight)
            found[which] = logp[source, targets.ids[which]]
            if with_entropy:
                entropy += _entropies(logp, logp.exp(), source)
        entropy = entropy if with_entropy else entropy * torch.nan
        ctx.mark_non_differentiable(entropy)
        return found, entropy

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, ids, source = ctx.saved_tensors
        gradient = _Gradient(hidden, weight, ctx.needs_input_grad[1])
        for states, which in Targets(ids, source).by_chunk(len(hidden), ctx.size):
            logp = _chunk(hidden[states], weight)
            gradient.add(states, logp.exp_(), ids[which], source[which] - states.start, slopes[0][which])
        return gradient.of_hidden, _cast(gradient.of_weight, weight), None, None, None


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Targets, size: int, slope: Slope
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradient = _Gradient(hidden, weight, ctx.needs_input_grad[1])
        found, entropy = _values(hidden, targets), _no_entropy(hidden)
        for states, which in targets.by_chunk(len(hidden), size):
            ids, source = targets.ids[which], targets.source[which] - states.start
            logp = _chunk(hidden[states], weight)
            probabilities = logp.exp()
            entropy += _entropies(logp, probabilities, source)
            found[which] = logp[source, ids]
            gradient.add(states, probabilities, ids, source, slope(which, found[which]))
        ctx.save_for_backward(gradient.of_hidden)
        ctx.of_weight = _cast(gradient.of_weight, weight)  # the gradient itself, not something kept to make it
        ctx.mark_non_differentiable(found, entropy)
        return entropy.new_zeros(()), found, entropy

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


def _values(hidden: Tensor, targets: Targets) -> Tensor:
    """Room for the M log-probs, in float32 at least."""
    return hidden.new_zeros(len(targets.ids), dtype=torch.promote_types(hidden.dtype, torch.float32))


def _no_entropy(hidden: Tensor) -> Tensor:
    return hidden.new_zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32))


def _cast(gradient: Tensor | None, weight: Tensor) -> Tensor | None:
    return None if gradient is None else gradient.to(weight.dtype)

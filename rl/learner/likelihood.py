"""Masked log-likelihood: how probable each masked token is, given the prompt and the rest of the response.

The head and the last layer run on masked rows only, and image rows are normalised over the codebook alone, as the
sampler of images does; the [B, L, V] logits of the plain definition are never formed. Where even the logits of masked
rows are many, they are formed a chunk at a time (``rl.learner.chunked_head``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from policies.base import Policy
from rl.config import UniGRPOConfig
from rl.estimators import ESTIMATORS
from rl.learner.chunked_head import Targets, linear_log_probs, linear_loss
from rl.learner.microbatches import MicroBatch
from rl.types import LossOutput

LOGITS_MIB = 64.0


@dataclass(frozen=True, slots=True)
class LogProbs:
    """values   [B, L] log p(token | masked input) where masked, 0 elsewhere
    entropy  mean entropy of the same M distributions, in nats, detached; NaN where it was not asked for
    token_entropy  [B, L] entropy of each of them, with its gradient, 0 elsewhere; None where it was not asked for
    """

    values: Tensor
    entropy: Tensor
    token_entropy: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Masked:
    """Sequences of which some positions are hidden from the policy, which is asked for them.

    token_ids  [B, L] int64
    attention  [B, L] bool, False at padding; None where nothing is padded
    mask       [B, L] bool: hidden, and scored
    is_image   [B] or [B, L] bool: the sequences or positions whose image codes the sampler of images wrote; None: all
    clean      [B, L] int64: the sequence that was written, where token_ids has mask tokens already; None: token_ids.
               Block-causal policies see the blocks before a block in it

    Those codes are normalised over the codebook. All other tokens are normalised over the whole vocabulary, as the
    sampler of text does: also an image code that strayed into a text.
    """

    token_ids: Tensor
    attention: Tensor | None
    mask: Tensor
    is_image: Tensor | None = None
    clean: Tensor | None = None

    def only(self, rows: Tensor) -> Masked:
        """The sequences at these indices."""
        parts = (self.token_ids, self.attention, self.mask, self.is_image, self.clean)
        return Masked(*(part if part is None else part[rows] for part in parts))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, slots=True)
class Wanted:
    """logits_mib     where the logits would take more, they are formed a chunk at a time, and again for the gradient
    entropy        the mean entropy of the distributions
    token_entropy  each of them, with its gradient
    """

    logits_mib: float = LOGITS_MIB
    entropy: bool = False
    token_entropy: bool = False


def token_values(
    policy: Policy, data: MicroBatch, n: int, algorithm: UniGRPOConfig, wanted: Wanted = Wanted()
) -> LogProbs:
    """Each response token's value under inner update n's passes, as the configured estimator puts them together.

    values [b, L] are log-probs where there is one pass; times ``data.scales[n]`` their sum over a response estimates its
    log-likelihood. The entropy is the mean over all terms that the passes score; ``token_entropy`` is a token's mean over the
    passes that score it.
    """
    weights = data.term_weights[n]
    passes = zip(data.hidden[n], weights != 0, strict=True)
    found = [_one_pass(policy, data, hidden, scored, wanted) for hidden, scored in passes]
    logp = torch.stack([part.values for part in found])
    values = ESTIMATORS[algorithm.estimator].combine(logp, weights, data.advantages, algorithm)
    if len(found) == 1:
        return LogProbs(values, found[0].entropy, found[0].token_entropy)
    counts = (weights != 0).sum((1, 2))
    entropy = torch.where(counts > 0, torch.stack([part.entropy for part in found]), 0.0)
    return LogProbs(values, (entropy * counts).sum() / counts.sum().clamp(min=1), _mean_entropy(found, weights != 0))


def _mean_entropy(found: list[LogProbs], scored: Tensor) -> Tensor | None:
    """[K] parts, [K, b, L] -> [b, L]: a token's entropy, over the passes that score it."""
    parts = [part.token_entropy for part in found if part.token_entropy is not None]
    return torch.stack(parts).sum(0) / scored.sum(0).clamp(min=1) if parts else None


def _one_pass(policy: Policy, data: MicroBatch, hidden: Tensor, scored: Tensor, wanted: Wanted) -> LogProbs:
    """One pass over the rollouts that take part in it; hidden and scored [b, L]."""
    rows = scored.any(1).nonzero().squeeze(1)
    if data.collective and not len(rows):
        return _empty_pass(policy, data, wanted)
    token_ids = data.token_ids.masked_fill(hidden & ~scored, policy.vocabulary.mask_id)
    masked = Masked(token_ids, data.attention, scored, data.is_image, data.token_ids)
    if len(rows) == len(scored):
        return masked_log_probs(policy, masked, wanted)
    part = masked_log_probs(policy, masked.only(rows), wanted)

    def spread(values: Tensor) -> Tensor:
        return values.new_zeros(scored.shape).index_copy(0, rows, values)

    entropy = None if part.token_entropy is None else spread(part.token_entropy)
    return LogProbs(spread(part.values), part.entropy, entropy)


def _empty_pass(policy: Policy, data: MicroBatch, wanted: Wanted) -> LogProbs:
    """A pass that other ranks need: over one token of one rollout, whose log-prob counts nothing, forward or backward."""
    first = torch.zeros(1, dtype=torch.int64, device=data.token_ids.device)
    one = torch.zeros_like(data.masks[0])
    one[0, data.masks[:, 0].any(0).nonzero()[0]] = True
    masked = Masked(data.token_ids, data.attention, one, data.is_image, data.token_ids)
    part = masked_log_probs(policy, masked.only(first), wanted)
    nothing = (0 * part.values.sum()).expand(one.shape)
    return LogProbs(nothing, part.entropy, nothing if wanted.token_entropy else None)


def masked_log_probs(policy: Policy, masked: Masked, wanted: Wanted = Wanted()) -> LogProbs:
    """Log-probs of ``masked.token_ids`` at ``masked.mask``, with exactly those positions hidden from the policy.

    Values are float32 at least.
    """
    mask = masked.mask
    if not mask.any():
        nothing = torch.zeros(mask.shape, device=mask.device)
        return LogProbs(nothing, nothing.new_tensor(torch.nan), nothing if wanted.token_entropy else None)
    return _log_probs_of(policy, masked_rows(policy, masked), wanted)


def _log_probs_of(policy: Policy, rows: MaskedRows, wanted: Wanted) -> LogProbs:
    parts = []
    for part in rows.parts:
        size = chunk_rows(policy, part.image, wanted.logits_mib)
        if len(part.states) > size and not wanted.token_entropy:
            weight = policy.head_weight(part.image)
            found = linear_log_probs(rows.hidden[part.states], weight, part.of_states, size, wanted.entropy)
            parts.append((*found, None))
        else:
            logits = policy.head(rows.hidden[part.states], image=part.image)
            parts.append(_score(logits, part, wanted))
    entropy = torch.stack([summed for _, summed, _ in parts]).sum() / len(rows.positions)
    values = rows.spread([logp for logp, _, _ in parts])
    of_tokens = [each for _, _, each in parts if each is not None]
    return LogProbs(values, entropy, rows.spread(of_tokens) if wanted.token_entropy else None)


def masked_loss(
    policy: Policy, data: MicroBatch, n: int, logits_mib: float, loss: Callable[[Tensor], LossOutput]
) -> tuple[LossOutput, Tensor]:
    """A loss of the log-probs [b, L] of inner update n's one pass, and their mean entropy.

    Where the logits of the states that differ would take more than ``logits_mib``, none are kept. ``loss`` must be
    separable: its derivative by one log-prob depends on no other's. It is then known as soon as a chunk's log-probs
    are, so the chunk's gradient is taken at once.
    """
    mask = data.masks[n]
    shown = data.token_ids.masked_fill(data.hidden[n, 0] & ~mask, policy.vocabulary.mask_id)
    rows = masked_rows(policy, Masked(shown, data.attention, mask, data.is_image, data.token_ids))
    if all(len(part.states) <= chunk_rows(policy, part.image, logits_mib) for part in rows.parts):
        found = _log_probs_of(policy, rows, Wanted(logits_mib, entropy=True))
        return loss(found.values), found.entropy
    values = rows.hidden.new_zeros(mask.numel(), dtype=torch.promote_types(rows.hidden.dtype, torch.float32))
    zero, entropy = values.new_zeros(()), values.new_zeros(())
    for part in rows.parts:
        slope = _Slope(loss, values, mask.shape, rows.positions[part.rows])
        weight, size = policy.head_weight(part.image), chunk_rows(policy, part.image, logits_mib)
        added, _, entropies = linear_loss(rows.hidden[part.states], weight, part.of_states, size, slope)
        zero, entropy = zero + added, entropy + entropies
    output = loss(values.view(mask.shape))
    return LossOutput(output.loss + zero, output.metrics), entropy / max(1, len(rows.positions))


@dataclass(frozen=True, slots=True)
class _Slope:
    """The derivative of a separable loss by a part's log-probs, chunk by chunk.

    values     [B * L] log-probs that are known so far; a call fills in its chunk's
    positions  where in ``values`` the part's targets are
    """

    loss: Callable[[Tensor], LossOutput]
    values: Tensor
    shape: torch.Size
    positions: Tensor

    def __call__(self, which: Tensor, logp: Tensor) -> Tensor:
        where = self.positions[which]
        self.values[where] = logp
        leaf = self.values.view(self.shape).clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self.loss(leaf).loss, leaf)
        return gradient.flatten()[where]


def chunk_rows(policy: Policy, image: bool, logits_mib: float) -> int:
    """Rows whose float32 logits fill ``logits_mib``."""
    width = policy.vocabulary.codebook_size if image else policy.vocabulary.size
    return max(1, int(logits_mib * 2**20 / (4 * width)))


@dataclass(frozen=True, slots=True)
class Part:
    """The rows that share a normalisation: which of the M, and their targets in what they are normalised over.

    states  which of the hidden states predict them, each once
    source  which of ``states`` predicts each target
    """

    image: bool
    rows: Tensor
    targets: Tensor
    states: Tensor
    source: Tensor

    @property
    def of_states(self) -> Targets:
        return Targets(self.targets, self.source)


@dataclass(frozen=True, slots=True)
class MaskedRows:
    """positions [M] in the flattened [B, L]; hidden states [S, D], S <= M; parts that are not empty, text first."""

    shape: torch.Size
    positions: Tensor
    hidden: Tensor
    parts: tuple[Part, ...]

    def spread(self, found: Sequence[Tensor]) -> Tensor:
        """One tensor a part -> [B, L], 0 elsewhere."""
        values = found[0].new_zeros(self.shape.numel())
        for part, of_part in zip(self.parts, found, strict=True):
            values = values.index_copy(0, self.positions[part.rows], of_part)
        return values.view(self.shape)


def masked_rows(policy: Policy, masked: Masked) -> MaskedRows:
    """The hidden states at the mask, split by what their tokens are normalised over."""
    vocabulary, mask, is_drawn = policy.vocabulary, masked.mask, masked.is_image
    positions = mask.flatten().nonzero().squeeze(1)
    targets = masked.token_ids.flatten()[positions]
    codes = targets - vocabulary.image_offset
    is_image = (codes >= 0) & (codes < vocabulary.codebook_size)
    if is_drawn is not None:
        is_image &= (is_drawn if is_drawn.dim() == 2 else is_drawn[:, None].expand_as(mask)).flatten()[positions]
    hidden, state = _hidden(policy, masked)
    parts = []
    for image, wanted in ((False, targets), (True, codes)):
        rows = (is_image == image).nonzero().squeeze(1)
        if len(rows):
            states, source = torch.unique(state[rows], return_inverse=True)
            parts.append(Part(image, rows, wanted[rows], states, source))
    return MaskedRows(mask.shape, positions, hidden, tuple(parts))


def _hidden(policy: Policy, masked: Masked) -> tuple[Tensor, Tensor]:
    """Final states [S, D] at ``mask``, and which of them is that of each of the M masked positions in row-major order.

    Sequences that are equal go through the network once: under a full mask the rollouts of a prompt differ in their
    targets alone, so that a group is one sequence. Not so for a block-causal policy, which sees what was written.
    """
    mask, attention = masked.mask, masked.attention
    clean = masked.token_ids if masked.clean is None else masked.clean
    inputs = masked.token_ids.masked_fill(mask, policy.vocabulary.mask_id)
    parts = [inputs, mask] if attention is None else [inputs, mask, attention]
    if policy.block_length is not None:
        parts.append(clean)
    distinct, same_as = torch.unique(torch.cat(parts, dim=1), dim=0, return_inverse=True)
    first, counts = torch.arange(len(inputs), device=inputs.device), mask.sum(1)
    if len(distinct) == len(inputs):
        same_as = first
    else:
        first = same_as.new_zeros(len(distinct)).scatter_reduce(0, same_as, first, "amin", include_self=False)
        inputs, clean = inputs[first], clean[first]
        attention = None if attention is None else attention[first]
    hidden = policy.hidden(inputs, attention, rows=mask[first], clean=clean)
    # The k-th masked position of a sequence is the k-th of the sequence that stands for it.
    starts = counts[first].cumsum(0) - counts[first]
    return hidden, starts[same_as].repeat_interleave(counts) + (mask.cumsum(1) - 1)[mask]


def _score(logits: Tensor, part: Part, wanted: Wanted) -> tuple[Tensor, Tensor, Tensor | None]:
    """logits [S, V] of a part's states -> log-probs [M] of its targets, the sum of the M entropies, and each of them
    with its gradient."""
    logp = torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
    entropy, token_entropy = logp.new_tensor(torch.nan), None
    if wanted.token_entropy:
        token_entropy = -(logp.exp() * logp).sum(-1)[part.source]
    if wanted.entropy:
        detached = logp.detach()
        entropy = -(detached.exp() * detached).sum(-1)[part.source].sum()
    return logp[part.source, part.targets], entropy, token_entropy

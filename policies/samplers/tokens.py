"""From logits to tokens: which one to write, with one uniform number a row, and how sure of it the policy is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from policies.samplers import DRAWN, REMASKING
from policies.samplers.habits import LLADA, Habits
from policies.samplers.remasking import Remasking, RowStatistics
from rl.types import ImageSampling, Sample, TextSampling

FREE = -1  # stands in a partly given response where the sampler is to write


def sample_tokens(
    logits: Tensor,
    uniform: Tensor,
    temperature: float,
    top_k: int = 0,
    top_p: float = 1.0,
    top_p_first: bool = False,
) -> tuple[Tensor, Tensor]:
    """logits [M, V], uniform [M] float64 -> token [M] int64, and its probability at temperature 1 [M] float32.

    uniform [G, M]: G members share the logits, whose distribution is then summed once; the results are [G, M].

    Temperature 0 takes the likeliest token. Otherwise the inverse of the cumulative distribution of
    softmax(logits / temperature) is taken at ``uniform``: exact, and V times less noise than the Gumbel trick.
    top_k and top_p cut the tail of that distribution off; the probability that is returned is that of the whole one.
    """
    return _sampled(logits, uniform, temperature, top_k, top_p, top_p_first)[:2]


def _sampled(
    logits: Tensor, uniform: Tensor, temperature: float, top_k: int, top_p: float, top_p_first: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """``sample_tokens``, and all probabilities at temperature 1 [M, V]."""
    probabilities = logits.float().softmax(-1)
    noise = uniform.view(-1, len(logits)).T
    if temperature == 0:
        token = logits.argmax(-1, keepdim=True).expand(noise.shape)
    else:
        tempered = probabilities if temperature == 1 else (logits.float() / temperature).softmax(-1)
        tempered = truncate(tempered, top_k, top_p, top_p_first)
        cumulative = tempered.cumsum(-1, dtype=torch.float64)
        target = (noise * cumulative[:, -1:]).contiguous()
        token = torch.searchsorted(cumulative, target, right=True).clamp_(max=logits.shape[-1] - 1)
    probability = probabilities.gather(-1, token)
    return token.T.reshape(uniform.shape), probability.T.reshape(uniform.shape), probabilities


def truncate(probabilities: Tensor, top_k: int = 0, top_p: float = 1.0, top_p_first: bool = False) -> Tensor:
    """[M, V] -> [M, V], 0 outside the ``top_k`` likeliest (0: all), and outside the nucleus of what is left: the fewest
    likeliest tokens that hold ``top_p`` of it (arXiv 1904.09751). Not normalised again. The likeliest always stays.
    top_p_first: the nucleus is of the whole distribution, as Dream cuts."""
    return _top_k(_top_p(probabilities, top_p), top_k) if top_p_first else _top_p(_top_k(probabilities, top_k), top_p)


def _top_k(probabilities: Tensor, top_k: int) -> Tensor:
    if not 0 < top_k < probabilities.shape[-1]:
        return probabilities
    values, indices = probabilities.topk(top_k, dim=-1)
    return torch.zeros_like(probabilities).scatter_(-1, indices, values)


def _top_p(probabilities: Tensor, top_p: float) -> Tensor:
    if top_p >= 1:
        return probabilities
    values, indices = probabilities.sort(dim=-1, descending=True, stable=True)
    mass = values.cumsum(-1, dtype=torch.float64)
    values.masked_fill_(mass - values >= top_p * mass[:, -1:], 0)
    return torch.zeros_like(probabilities).scatter_(-1, indices, values)


def penalise_repetition(logits: Tensor, ids: Tensor, members: Tensor, mask_id: int, penalty: float) -> Tensor:
    """logits [M, V] of rows of ``members`` [M], whose sequences are ids [B, L]: tokens that stand in the sequence already
    have positive logits divided by the penalty and negative ones multiplied by it (CTRL, arXiv 1909.05858, section 4.1)."""
    seen = torch.zeros((len(ids), logits.shape[-1]), dtype=torch.bool, device=logits.device).scatter_(1, ids, True)
    seen[:, mask_id] = False
    return torch.where(seen[members], torch.where(logits > 0, logits / penalty, logits * penalty), logits)


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a step offers: tensors [M], or [G, M] where G members share M rows of logits.

    tokens         to write
    certainty      how sure of them the policy is, for the order: 0..1
    probability    of each, float32, in the distribution that certainty looks at
    entropies      [M] or [G, M] float32 of that distribution; None: not known yet
    probabilities  [M, V] of it, where entropies are not known
    """

    tokens: Tensor
    certainty: Tensor
    probability: Tensor
    entropies: Tensor | None = None
    probabilities: Tensor | None = None

    def told(self, which: Tensor) -> Tensor:
        """[n, 2] probability and entropy, in nats, of those at ``which`` [n] int64 of the flattened tokens. Few of a step's
        candidates are revealed: only these are summed over the vocabulary."""
        if self.entropies is not None:
            entropy = self.entropies.flatten()[which]
        else:
            assert self.probabilities is not None
            rows = self.probabilities[which % len(self.probabilities)]
            entropy = torch.special.entr(rows).sum(-1)
        return torch.stack([self.probability.flatten()[which].float(), entropy], dim=1)


def kept_places(keep: Tensor, count: int | None) -> Tensor:
    """[n] int64: where the flattened bool tensor is True. count: how often, None: ask the device."""
    flat = keep.flatten()
    return (flat.nonzero() if count is None else flat.nonzero_static(size=count)).squeeze(1)


def candidates(
    logits: Tensor,
    uniform: Tensor,
    order: Tensor,
    sampling: TextSampling | ImageSampling,
    habits: Habits = LLADA,
    unsure: Sequence[int] = (),
    never: int | None = None,
) -> Candidates:
    """logits [M, V], two uniform numbers a row [M] -> the token to write [M], and how sure of it the policy is.

    With numbers [G, M], G members share the logits, and the results are [G, M]. On a GPU one kernel a row finds both. It
    does not where the distribution is truncated, which sorts it, or where the rule needs more than the kernel's statistics.

    habits  of which distribution the confidence is. unsure: tokens of which the policy counts as never sure. never: a token
            that is not written; its probability counts in the confidence, but for the kernel's
    """
    temperature, drawn = sampling.temperature, habits.confidence == DRAWN
    truncated = (sampling.top_k > 0 or sampling.top_p < 1) and (temperature > 0 or drawn)
    seen = logits
    if drawn:
        # From here on the tempered and truncated distribution is the plain one.
        seen, temperature = _drawn_from(logits, sampling, habits), 1.0 if temperature > 0 else 0.0
    logits = seen if never is None else _without(never, seen, logits)
    rule = REMASKING[sampling.remasking]
    of_row = None if truncated or unsure else rule.of_row
    if logits.device.type == "cuda" and of_row is not None and _has_triton():
        from policies.samplers.row_kernel import look  # here: triton is heavy, and of use on a GPU only

        each = logits.repeat(uniform.numel() // len(logits), 1)
        found = look(each, uniform.flatten(), temperature)
        confidence = of_row(found, order.flatten())
        parts = (found.token, confidence, found.probability, found.entropy)
        return Candidates(*(part.view(uniform.shape) for part in parts))
    cut = (0, 1.0) if drawn else (sampling.top_k, sampling.top_p)
    tokens, probability, whole = _sampled(logits, uniform, temperature, *cut, habits.top_p_first)
    if never is None and not unsure:
        certainty = rule.confidence(logits, probability, order).expand(uniform.shape)
    else:
        certainty = _confidence(seen, tokens, order, rule, unsure)
    return Candidates(tokens, certainty, probability, probabilities=whole)


def _drawn_from(logits: Tensor, sampling: TextSampling | ImageSampling, habits: Habits) -> Tensor:
    """Logits [M, V] of the distribution that a token is drawn from: tempered, and -inf outside of what truncation leaves."""
    if sampling.temperature not in (0, 1):
        logits = logits.float() / sampling.temperature
    if sampling.top_k > 0 or sampling.top_p < 1:
        logits = truncate(logits.float().softmax(-1), sampling.top_k, sampling.top_p, habits.top_p_first).log()
    return logits


def _without(never: int, cut: Tensor, whole: Tensor) -> Tensor:
    """Logits [M, V] without one token: those that truncation left, or the whole where it left that one alone."""
    logits, rest = cut.clone(), whole.clone()
    logits[:, never] = rest[:, never] = -torch.inf
    return logits if cut is whole else torch.where(logits.amax(-1, keepdim=True) == -torch.inf, rest, logits)


def _confidence(logits: Tensor, tokens: Tensor, order: Tensor, rule: Remasking, unsure: Sequence[int]) -> Tensor:
    """Of tokens [M] or [G, M], by other logits [M, V] than they were chosen by: as if the tokens ``unsure`` did not exist, and
    0 where one of them was chosen."""
    unwanted = torch.tensor(unsure if not rule.random else (), dtype=torch.int64, device=logits.device)
    logits = logits.index_fill(-1, unwanted, -torch.inf)
    chosen = tokens.view(-1, len(logits)).T
    probability = logits.float().softmax(-1).gather(-1, chosen).T.reshape(tokens.shape)
    confidence = rule.confidence(logits, probability, order).expand(tokens.shape)
    return torch.where(torch.isin(tokens, unwanted), 0.0, confidence) if len(unwanted) else confidence


def look_eager(logits: Tensor, uniform: Tensor, temperature: float) -> RowStatistics:
    """What ``row_kernel.look`` finds, with torch's own operators: its reference."""
    token, probability = sample_tokens(logits, uniform, temperature)
    logp = logits.float().log_softmax(-1)
    best = logp.exp().topk(2, dim=-1).values
    entropy = -(logp.exp() * logp).nan_to_num(0.0).sum(-1)
    return RowStatistics(token, probability, entropy, best[:, 0] - best[:, 1])


@cache
def _has_triton() -> bool:
    """It comes with torch for GPUs, but not on every system."""
    return find_spec("triton") is not None


def keep_surest(confidence: Tensor, count: int) -> Tensor:
    """[B, M] -> bool [B, M]: True at each row's ``count`` highest."""
    chosen = torch.zeros_like(confidence, dtype=torch.bool)
    return chosen.scatter_(1, confidence.topk(count, dim=1).indices, True)


def seedless(sampling: TextSampling | ImageSampling) -> bool:
    """Whether no seed matters, so that the members of a group are one response: it is computed once."""
    return (sampling.temperature, sampling.remask_temperature) == (0, 0) and not REMASKING[sampling.remasking].random


def copies(sample: Sample, count: int) -> list[Sample]:
    """Each with arrays of its own."""
    return [replace(sample, **{name: array.copy() for name, array in arrays_of(sample).items()}) for _ in range(count)]


def arrays_of(sample: Sample) -> dict[str, np.ndarray]:
    """Of each of its tokens, by field."""
    fields = ("token_ids", "step_map", "confidence", "entropy")
    return {name: getattr(sample, name) for name in fields if getattr(sample, name) is not None}

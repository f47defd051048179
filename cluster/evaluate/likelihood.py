"""log p(text | context) of a masked-diffusion policy, as LLaDA's own evaluation estimates it.

The estimate is the evidence lower bound by Monte Carlo (arXiv 2502.09992, equation 6 and appendix B.5): hide l of the L tokens,
sum the log-probabilities of the hidden ones, multiply by L / l, and take the mean over draws of l and of the mask. l is spread
evenly over 1..L, one random mask each. It is a lower bound in expectation, and not the likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from policies.base import Policy
from policies.samplers.text import sample_text
from rl.config import UniGRPOConfig
from rl.errors import DataError
from rl.estimators.elbo import stratified_views
from rl.types import MaskDraw, TextSampling

DRAWS = 128
_TOKENS = 1 << 13  # of one forward pass


@torch.inference_mode()
def log_likelihood(
    policy: Policy, prefix: Sequence[int], ids: Sequence[int], draws: int = DRAWS, seed: int = 0
) -> float:
    """Estimate of log p(ids | prefix), in nats. A pure function of its arguments: the same seed hides the same tokens.

    The beginning of a prefix that does not fit is left out. Raises DataError where ``ids`` alone do not fit.
    """
    length = len(ids)
    if not length:
        return 0.0
    if length >= policy.max_length:
        raise DataError(f"a text of {length} tokens to score: {policy.name} takes {policy.max_length}; shorten it")
    kept = list(prefix)[-(policy.max_length - length) :]
    views = stratified_views(MaskDraw(seed, 1.0), np.zeros(length, np.int32), UniGRPOConfig(estimator_samples=draws))
    hidden, places = np.unique(views.hidden, axis=0, return_inverse=True)  # a short text has few masks
    weights = np.zeros(hidden.shape)
    np.add.at(weights, places.ravel(), views.weights)
    rows = max(1, _TOKENS // (len(kept) + length))
    clean = torch.tensor([*kept, *ids], device=next(policy.module.parameters()).device)
    return sum(
        _scored(policy, clean, hidden[start : start + rows], weights[start : start + rows])
        for start in range(0, len(hidden), rows)
    )


def _scored(policy: Policy, clean: Tensor, hidden: np.ndarray, weights: np.ndarray) -> float:
    """sum of weights * log p over some masks [K, L]."""
    masked = torch.zeros(len(hidden), len(clean), dtype=torch.bool, device=clean.device)
    masked[:, len(clean) - hidden.shape[1] :] = torch.from_numpy(hidden).to(clean.device)
    whole = clean.expand(len(hidden), -1)
    shown = whole.masked_fill(masked, policy.vocabulary.mask_id)
    logits = policy.head(policy.hidden(shown, rows=masked, clean=whole), image=False).double()
    logp = logits.log_softmax(-1).gather(1, whole[masked][:, None])[:, 0]
    return float(logp.cpu().numpy() @ weights[hidden])


def is_greedy(policy: Policy, prefix: Sequence[int], ids: Sequence[int]) -> bool:
    """Whether the greedy sampler, one token a step, writes exactly ``ids`` after the prefix: as many passes as tokens."""
    if not ids:
        return True
    block = policy.block_length or len(ids)
    canvas = -(-len(ids) // block) * block
    kept = list(prefix)[-(policy.max_length - canvas) :] if canvas < policy.max_length else list(prefix)
    if len(kept) + canvas > policy.max_length:
        return False
    sampling = TextSampling(max_new_tokens=canvas, block_length=block, steps=canvas, temperature=0.0)
    (sample,) = sample_text(policy, kept, sampling, [0])
    return sample.token_ids[: len(ids)].tolist() == list(ids)

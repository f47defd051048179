"""Credit by the order of revealing: what the sampler revealed first answers for more of the reward (after HT-GRPO, arXiv
2605.16842). It imports no torch.
"""

from __future__ import annotations

import numpy as np


def credit_of(steps: np.ndarray, weight: float, share: float) -> np.ndarray:
    """[L] float64 with a mean of 1: what each token's advantage counts.

    The first ``share`` of the tokens, in the order in which the sampler revealed them, are the structure; each counts ``weight``
    times one of the others. Tokens that one step revealed share one credit: where the border lies inside a step, f of it
    is structure. With f_t that part of token t's step: ``w_t = (1 + (weight - 1) f_t) / (1 + (weight - 1) share)``.

    HT-GRPO multiplies the advantages of an image's tokens by weights that are larger for its early, structural tokens. Its
    numbers, and how it parts tokens by entropy, are not public; neither are its stages of inner updates, which are not here.

    steps  [L] the denoising step that revealed each token
    """
    _, group, counts = np.unique(steps, return_inverse=True, return_counts=True)
    before = np.cumsum(counts) - counts
    inside = np.clip((share * len(steps) - before) / counts, 0.0, 1.0)
    return (1 + (weight - 1) * inside[group]) / (1 + (weight - 1) * share)

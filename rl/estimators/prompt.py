"""Hiding some of the prompt as well, whatever the estimator (d1, arXiv 2504.12216, section 3.2)."""

from __future__ import annotations

import numpy as np

from rl.seeds import derive_seed, uniforms
from rl.types import MaskDraw


def prompt_pattern(draw: MaskDraw, length: int, probability: float) -> np.ndarray:
    """Which of a prompt's ``length`` tokens are hidden, bool [length]: each by itself, with this probability.

    Another draw than that of the response's mask under the same seed; all passes of an inner update share it.
    """
    return uniforms(derive_seed(draw.seed, "prompt"), length)[0] < probability

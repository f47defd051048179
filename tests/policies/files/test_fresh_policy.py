"""Image codes of a fresh policy: those that share bits begin near each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.files.fresh_policy import begin_alike

D, BITS = 4096, 6


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), code=st.integers(0, 2**BITS - 1), other=st.integers(0, 2**BITS - 1))
def test_codes_are_as_near_as_their_bits(seed: int, code: int, other: int) -> None:
    """E[cos] = 0.81 (1 - 2 k / bits) for k bits that differ: the shared part is a sum of independent directions, and the
    rest is independent; in 4,096 dimensions a cosine of independent rows has a deviation of 1/64, and six directions are
    not quite orthogonal."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(2**BITS, D, generator=generator) * D**-0.5
    begin_alike(rows, generator)
    differ = (code ^ other).bit_count()
    expected = 1.0 if code == other else 0.81 * (1 - 2 * differ / BITS)
    assert abs(float(F.cosine_similarity(rows[code], rows[other], dim=0)) - expected) < 0.12
    assert abs(float(rows.norm(dim=1).mean()) - 1) < 0.05  # as long as they were

"""The Triton kernel against its eager reference, run by Triton's interpreter, which needs no GPU (tests/conftest.py)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton")  # has no wheels but for Linux on x86-64

from policies.noise import uniforms
from policies.samplers import REMASKING, row_kernel
from policies.samplers.tokens import candidates, look_eager, sample_tokens
from rl.types import TextSampling


def rows_of(count: int, vocabulary: int, seed: int, scale: float, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(count, vocabulary, generator=generator) * scale).to(dtype)
    logits[:, seed % vocabulary] = -torch.inf  # the mask token, as a sampler leaves it
    return logits, uniforms([seed], 3, torch.arange(count))[0]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 5), st.sampled_from([2, 3, 127, 4096, 4097, 9000]), st.integers(0, 2**31),
    st.sampled_from([0.1, 1.0, 8.0]), st.sampled_from([torch.float32, torch.bfloat16]),
    st.sampled_from([0.0, 0.3, 1.0, 1.7]),
)  # fmt: skip
def test_a_row_is_looked_at_as_the_eager_version_does(count, vocabulary, seed, scale, dtype, temperature):
    logits, uniform = rows_of(count, vocabulary, seed, scale, dtype)
    found = row_kernel.look(logits, uniform, temperature)
    expected = look_eager(logits, uniform, temperature)
    assert found.token.tolist() == expected.token.tolist()
    for name in ("probability", "entropy", "margin"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=2e-5, atol=2e-6)


def test_ties_and_a_certain_row_are_settled_as_eager_does():
    logits = torch.zeros(3, 5000)
    logits[0, [7, 4500]] = 2.0  # the likeliest twice: the first, and no lead
    logits[1] = -torch.inf
    logits[1, 4999] = 3.0
    uniform = torch.tensor([0.5, 1e-17, 1 - 2.0**-53], dtype=torch.float64)
    for temperature in (0.0, 1.0):
        found, expected = (look(logits, uniform, temperature) for look in (row_kernel.look, look_eager))
        assert found.token.tolist() == expected.token.tolist()
    assert row_kernel.look(logits, uniform, 0.0).token.tolist() == [7, 4999, 0]
    assert found.margin[0] == 0 and found.margin[1] == 1 and found.entropy[1] == 0 and found.probability[1] == 1


def test_a_part_of_a_wider_table_is_read_where_it_lies():
    logits, uniform = rows_of(4, 600, 0, 2.0, torch.float32)
    part = logits[:, 100:400]
    expected = row_kernel.look(part.contiguous(), uniform, 1.0)
    assert row_kernel.look(part, uniform, 1.0).token.tolist() == expected.token.tolist()
    assert row_kernel.look(logits.T.contiguous().T[:, 100:400], uniform, 1.0).token.tolist() == expected.token.tolist()
    assert len(row_kernel.look(part[:0], uniform[:0], 1.0).token) == 0


@pytest.mark.parametrize("remasking", [*REMASKING])
def test_confidences_are_the_samplers_own(remasking):
    logits, uniform = rows_of(6, 300, 1, 3.0, torch.float32)
    order = uniforms([9], 3, torch.arange(6), stream=1)[0]
    eager = candidates(logits, uniform, order, TextSampling(temperature=0.7, remasking=remasking))
    found = row_kernel.look(logits, uniform, 0.7)
    assert found.token.tolist() == eager.tokens.tolist() == sample_tokens(logits, uniform, 0.7)[0].tolist()
    torch.testing.assert_close(REMASKING[remasking].of_row(found, order), eager.certainty, rtol=2e-5, atol=2e-6)
    told = eager.told(torch.arange(6))
    torch.testing.assert_close(torch.stack([found.probability, found.entropy], dim=1), told, rtol=2e-5, atol=2e-6)

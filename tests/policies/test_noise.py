"""Counter-based noise: a pure function of its counter, uniform, and without visible structure."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.noise import ORDER, TOKEN, gumbel, uniforms

SEEDS = st.integers(0, 2**63 - 1)


@given(st.lists(SEEDS, min_size=1, max_size=5), st.integers(0, 1000), st.integers(0, 2000))
def test_a_number_does_not_depend_on_what_else_is_asked_for(seeds, step, position):
    alone = [uniforms([seed], step, torch.tensor([position]))[0, 0].item() for seed in seeds]
    together = uniforms(seeds, step, torch.tensor([3, position, 7]))[:, 1].tolist()
    assert alone == together
    assert all(0 < value < 1 for value in alone)


def test_seed_step_position_and_stream_all_matter():
    base = uniforms([1], 2, torch.tensor([3])).item()
    others = [
        uniforms([2], 2, torch.tensor([3])).item(),
        uniforms([1], 3, torch.tensor([3])).item(),
        uniforms([1], 2, torch.tensor([4])).item(),
        uniforms([1], 2, torch.tensor([3]), ORDER).item(),
    ]
    assert len({base, *others}) == 5
    assert uniforms([1], 2, torch.tensor([3]), TOKEN).item() == base


def test_numbers_are_uniform_and_neighbours_uncorrelated():
    values = uniforms(list(range(200)), 5, torch.arange(500)).numpy()
    counts, _ = np.histogram(values, bins=50, range=(0, 1))
    expected = values.size / 50
    assert ((counts - expected) ** 2 / expected).sum() < 100  # chi-square, 49 degrees: p < 1e-4 beyond 95
    for shifted in (values[:, 1:], values[1:]):
        pair = values[: shifted.shape[0], : shifted.shape[1]]
        assert abs(np.corrcoef(pair.ravel(), shifted.ravel())[0, 1]) < 0.01


def test_gumbel_has_its_mean_and_variance():
    noise = gumbel(uniforms(list(range(100)), 0, torch.arange(1000)))
    assert abs(noise.mean().item() - np.euler_gamma) < 0.02
    assert abs(noise.var().item() - np.pi**2 / 6) < 0.05

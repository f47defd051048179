"""Signal and noise of gradients: the arithmetic, and that it finds a mean that was put in."""

import pytest
import torch

from benchmarks.learning.gradient_signal import signal_and_noise


def test_two_gradients_by_hand():
    signal, noise = signal_and_noise(torch.tensor([[3.0, 1.0], [1.0, -2.0]]))
    assert signal == pytest.approx(1.0)  # their inner product
    assert noise == pytest.approx((10 + 5) / 2 - 1)


def test_signal_is_unbiased_and_noise_is_the_variance():
    generator, mean = torch.Generator().manual_seed(0), torch.tensor([0.5, -1.0, 0.25])
    draws = mean + 2 * torch.randn(4000, 3, generator=generator)
    found = torch.tensor([signal_and_noise(draws[first : first + 4]) for first in range(0, 4000, 4)]).mean(0)
    assert found.tolist() == pytest.approx([float(mean.square().sum()), 12.0], rel=0.25)

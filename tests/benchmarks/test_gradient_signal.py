"""Signal and noise of gradients: the arithmetic, and that it finds a mean that was put in."""

import pytest
import torch

from benchmarks.learning.gradient_signal import agreement, main, signal_and_noise


def test_two_gradients_by_hand():
    signal, noise = signal_and_noise(torch.tensor([[3.0, 1.0], [1.0, -2.0]]))
    assert signal == pytest.approx(1.0)  # their inner product
    assert noise == pytest.approx((10 + 5) / 2 - 1)


def test_signal_is_unbiased_and_noise_is_the_variance():
    generator, mean = torch.Generator().manual_seed(0), torch.tensor([0.5, -1.0, 0.25])
    draws = mean + 2 * torch.randn(4000, 3, generator=generator)
    found = torch.tensor([signal_and_noise(draws[first : first + 4]) for first in range(0, 4000, 4)]).mean(0)
    assert found.tolist() == pytest.approx([float(mean.square().sum()), 12.0], rel=0.25)


def test_agreement_is_the_squared_cosine_without_the_noise_that_a_batch_shares():
    generator, mean = torch.Generator().manual_seed(1), torch.tensor([3.0, 4.0])
    exact = mean.repeat(6, 1)
    assert agreement(exact, exact) == pytest.approx(1)
    assert agreement(torch.tensor([[3.0, 0.0]]).repeat(6, 1), exact) == pytest.approx(9 / 25)
    assert agreement(-exact, exact) == pytest.approx(-1), "the other way"
    noise = 5 * torch.randn(3000, 6, 2, generator=generator)
    found = [agreement(exact + each, exact + each) for each in noise]
    # |mean|^2 over |mean|^2 + 2 * 25: what a batch and its own truth have in common does not count.
    assert torch.tensor(found).median() == pytest.approx(25 / 75, abs=0.05)


@pytest.mark.long
def test_methods_are_compared_on_the_same_rollouts(capsys):
    main(
        [
            *("--task", "text", "--prompts", "3", "--batches", "2"),
            *("--methods", "UniGRPO, full mask", "trajectory (TraceRL)"),
        ]
    )
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| text")]
    assert [row[1] for row in rows] == ["trajectory (TraceRL)", "UniGRPO, full mask"]

"""95% intervals: against published values, against a simulation of what they promise, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from rl.tracking.intervals import NORMAL, WILSON, Interval, interval, intervals
from rl.types import Task
from tests.rl.examples import draw_group, failed, score, text_group


def ones(right: int, n: int) -> list[list[float]]:
    return [[float(index < right)] for index in range(n)]


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: the score method
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_has_the_published_values(right: int, n: int, low: float, high: float) -> None:
    found = interval(ones(right, n))
    assert found is not None and (found.n, found.method) == (n, WILSON)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize("right", range(11))
def test_wilson_stays_within_0_and_1_and_holds_the_mean(right: int) -> None:
    found = interval(ones(right, 10))
    assert found is not None and 0 <= found.low <= right / 10 <= found.high <= 1 and found.low < found.high


def test_other_scores_have_the_normal_interval_of_their_mean() -> None:
    values = [0.1, 0.5, 0.9, 0.3]
    found = interval([[value] for value in values])
    error = 1.959964 * np.std(values, ddof=1) / 2
    assert found is not None and (found.n, found.method) == (4, NORMAL)
    assert (found.low, found.high) == (pytest.approx(0.45 - error), pytest.approx(0.45 + error))


def test_samples_of_one_prompt_do_not_count_as_prompts() -> None:
    """Four equal samples of each prompt say no more than one of them."""
    one = interval([[0.2], [0.8], [0.5]])
    four = interval([[0.2] * 4, [0.8] * 4, [0.5] * 4])
    assert one and four and (four.low, four.high) == (pytest.approx(one.low), pytest.approx(one.high))
    assert (one.n, four.n, four.method) == (3, 12, NORMAL)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_several_samples_that_are_all_wrong_or_right_are_as_many_prompts(value: float) -> None:
    several, one = interval([[value] * 3] * 20), interval([[value]] * 20)
    assert several is not None and one is not None and several == Interval(60, one.low, one.high, WILSON)


def test_where_nothing_can_be_said_there_is_no_interval() -> None:
    assert interval([]) is interval([[]]) is interval([[0.5]]) is interval([[0.5, 0.7]]) is None
    assert interval([[1.0]]) == Interval(1, pytest.approx(0.2065, abs=1e-4), 1.0, WILSON)  # pyright: ignore
    constant = interval([[0.3], [0.3]])
    assert constant is not None and (constant.low, constant.high) == (pytest.approx(0.3), pytest.approx(0.3))


@pytest.mark.parametrize("samples", [1, 4])
def test_95_of_100_intervals_hold_the_truth(samples: int) -> None:
    """800 evaluations of 200 prompts whose own means differ; the bound is four standard errors of a share of 0.95."""
    chance, held = np.random.default_rng(0), 0
    for _ in range(800):
        rates = chance.beta(2, 2, 200)
        found = interval([list(map(float, chance.random(samples) < rate)) for rate in rates])
        assert found is not None
        held += found.low <= 0.5 <= found.high
    assert abs(held / 800 - 0.95) < 4 * (0.95 * 0.05 / 800) ** 0.5


def test_they_have_the_names_of_the_means() -> None:
    groups = [
        *(text_group(f"t{i}", score(float(i % 2), correctness=float(i % 2))) for i in range(6)),
        text_group("f", failed()),
        *(text_group(f"u{i}", score(0.5), task=Task.UNDERSTAND, source="easy_vqa") for i in range(2)),
        *(draw_group(f"d{i}", score(0.25, clip=float("nan"))) for i in range(2)),
    ]
    found = intervals(groups)
    names = "text/score sums/score text/correctness understand/score easy_vqa/score draw/score scenes/score"
    assert found.keys() == {f"val/{name}" for name in names.split()}
    assert found["val/text/score"].n == 6

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.advantages import frac_reward_zero_std, group_advantages, most_varied
from tests.rl.examples import score, text_group

SCORES = st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=8)


def test_numbers_by_hand() -> None:
    # mean 1, population variance (1 + 1 + 0 + 0) / 4, std sqrt(1/2)
    rewards = np.array([[0.0, 2.0, 1.0, 1.0], [2.5, 0.5, 0.5, 0.5]])
    root = 2**0.5
    expected = np.array([[-root, root, 0, 0], [3**0.5, -(3**-0.5), -(3**-0.5), -(3**-0.5)]])
    np.testing.assert_allclose(group_advantages(rewards), expected, rtol=1e-12)
    np.testing.assert_allclose(group_advantages(rewards, scale_by_std=False), rewards - [[1.0], [1.0]], rtol=1e-12)


def test_groups_of_any_size_come_out_in_order() -> None:
    groups = [text_group("a", score(0.0), score(1.0)), text_group("b", score(3.0), score(3.0), score(9.0))]
    r = 2**-0.5
    np.testing.assert_allclose(group_advantages(groups), [-1, 1, -r, -r, 2 * r], rtol=1e-12)
    assert group_advantages([]).shape == (0,)


@pytest.mark.parametrize("value", [0.0, 0.1, 2.5, -1 / 3, 1e6 + 0.1])
@pytest.mark.parametrize("size", [1, 3, 7, 8])
def test_equal_scores_give_exactly_zero(value: float, size: int) -> None:
    """0.1 * 3 / 3 is not 0.1 in floating point: dividing that rounding by its own size would give advantages of 1."""
    assert (group_advantages(np.full((2, size), value)) == 0).all()


@given(SCORES, st.floats(0.5, 100), st.floats(-100, 100))
def test_scale_and_shift_of_rewards_do_not_matter(scores: list[float], scale: float, shift: float) -> None:
    rewards = np.array([scores])
    if rewards.std() > 1e-3 or rewards.std() == 0:
        np.testing.assert_allclose(group_advantages(rewards * scale + shift), group_advantages(rewards), atol=1e-8)


@given(SCORES)
def test_mean_zero_and_unit_std(scores: list[float]) -> None:
    advantages = group_advantages(np.array([scores]))
    assert abs(advantages.mean()) < 1e-6
    assert not advantages.any() or abs(advantages.std() - 1) < 1e-9


def test_share_of_groups_that_teach_nothing() -> None:
    same, mixed = text_group("a", score(0.1), score(0.1), score(0.1)), text_group("b", score(0.0), score(1.0))
    assert frac_reward_zero_std([same, mixed, mixed, mixed]) == 0.25
    assert frac_reward_zero_std([]) == 0.0


def largest_variance(values: list[float], count: int) -> float:
    return max(float(np.var(chosen)) for chosen in combinations(values, count))


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5, 7.0]) | st.floats(-5, 5), min_size=2, max_size=9), st.data())
def test_the_members_that_differ_most(values: list[float], data) -> None:
    count = data.draw(st.integers(2, len(values) + 1))
    found = most_varied(text_group("a", *map(score, values)), count)
    scores = [each.value for each in found.scores]
    assert len(found.rollouts) == len(scores) == min(count, len(values))
    assert np.var(scores) == pytest.approx(largest_variance(values, len(scores)))
    assert [rollout.index for rollout in found.rollouts] == sorted(rollout.index for rollout in found.rollouts)
    assert all(values[rollout.index] == value for rollout, value in zip(found.rollouts, scores, strict=True))


def test_a_rare_success_is_kept_and_weighs_more() -> None:
    """Its bias: one right of 8 has an advantage of 2.65; among the 2 that are trained on, 1."""
    group = text_group("a", *[score(float(n == 5)) for n in range(8)])
    pair = most_varied(group, 2)
    assert sorted(each.value for each in pair.scores) == [0.0, 1.0]
    assert group_advantages([group]).max() == pytest.approx(7**0.5) and group_advantages([pair]).max() == pytest.approx(
        1
    )

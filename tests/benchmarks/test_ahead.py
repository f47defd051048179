"""What rollouts ahead may give at most, by hand."""

from __future__ import annotations

import pytest

from benchmarks.speed.ahead import allowed, report


def test_a_step_is_as_long_as_its_slowest_part_or_half_of_its_way() -> None:
    assert allowed(4.0, 3.0, 2.0, 6.0) == 6.0  # the reward workers are busy all the time
    assert allowed(4.0, 0.5, 2.0, 1.0) == 4.0  # the rollout workers are
    assert allowed(1.0, 4.0, 5.0, 4.0) == 5.0  # the learner is: half of the way is as long
    assert allowed(1.0, 9.0, 2.0, 4.0) == 6.0  # nobody is, and two batches under way are too few


def test_what_is_told_is_measured_against_that() -> None:
    """64 samples a step, 0.125 s each on two reward workers: 4 s of scoring; sampling 2 s, learning 1 s."""
    calm = {"timing_s/step": 6.0, "timing_s/gen": 2.0, "perf/exposed_reward_s": 3.0, "timing_s/update_actor": 0.9}
    calm |= {"timing_s/old_log_prob": 0.05, "timing_s/ref": 0.0, "timing_s/update_weights": 0.05}
    told = report(calm, {"timing_s/step": 4.2}, 0.125)
    assert told["step_s_allowed"] == 4.0 and told["samples_per_hour_allowed"] == 57600.0
    assert told["samples_per_hour"] == 38400.0 and told["of_allowed"] == pytest.approx(4.0 / 4.2)

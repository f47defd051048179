"""Each rule over histories made by hand: a sick one, a healthy one, and those that say nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from rl.health import BUILT_IN, RULES
from rl.health.rule import Reading
from rl.health.watch import Change, Watch

Steps = Sequence[Mapping[str, float]]


def fold(steps: Steps, *rules: str, **limits: float) -> tuple[Watch, list[Change]]:
    """One entry a step, from 1 on. rules: those that are asked; none: all."""
    watch = Watch({name: RULES[name] for name in rules or BUILT_IN}, limits)
    changes = [change for step, metrics in enumerate(steps, 1) for change in watch.log(step, metrics)[0]]
    return watch, changes


def constant(name: str, value: float, steps: int = 30) -> list[dict[str, float]]:
    return [{name: value} for _ in range(steps)]


def evaluations(
    scores: Sequence[float], rewards: Callable[[int], float], width: float = 0.05
) -> list[dict[str, float]]:
    """A held-out score every tenth step, and a reward of text at each."""
    steps: list[dict[str, float]] = [{"rewards/text/mean": rewards(step)} for step in range(10 * len(scores))]
    for index, score in enumerate(scores):
        steps[10 * index + 9] |= {"val/text/score": score, "val/text/score_ci95": width, "val/text/n": 200.0}
    return steps


def rising(step: int) -> float:
    return 1.0 + 0.05 * step + 0.1 * (step % 2)


def flat(step: int) -> float:
    return 1.0 + 0.1 * (step % 2)


EXPOSED, STEP = "perf/exposed_reward_s", "timing_s/step"
FALLING = [{"actor/entropy": 2.0 * 0.9**step} for step in range(40)]
JUMP = [{"actor/grad_norm": 1.0 + 0.5 * (step % 2)} for step in range(30)] + [{"actor/grad_norm": 60.0}]
SKIPS = [{"actor/skipped_updates": float(step in (4, 7))} for step in range(12)]
SHARE = "rewards/text/format/advantage_share"
STARVED = [{SHARE: 1e-4 * (-1) ** step, "rewards/text/big/advantage_share": 1.0} for step in range(12)]
SICK: Mapping[str, Steps] = {
    "first_ratio": constant("actor/first_ratio_error", 0.3, 1),
    "kl": constant("actor/kl_loss", 2.0),
    "entropy": FALLING,
    "clip_fraction": constant("actor/pg_clipfrac", 0.4),
    "gradient": JUMP,
    "skipped_updates": SKIPS,
    "dead_groups": constant("frac_reward_zero_std", 0.9),
    "identical_rollouts": constant("rollouts/understand/identical", 1.0),
    "starving": STARVED,
    "canvas": [{"response_length/text/canvas_share": min(1.0, 0.5 + 0.03 * step)} for step in range(30)],
    "truncated": constant("response_length/clip_ratio", 0.5),
    "hacking": evaluations([0.5, 0.55, 0.3], rising),
    "wide_interval": [{"val/text/n": 3.0, "val/text/score": 0.5, "val/text/score_ci95": 0.4}],
    "mismatch": constant("actor/importance_mean", 0.6),
    "staleness": constant("staleness/mean", 4.0),
    "exposed_rewards": [{EXPOSED: 3.0, STEP: 4.0}] * 8,
    "restarts": [{"perf/worker_restarts": float(step)} for step in range(6)],
}
HEALTHY: Mapping[str, Steps] = {
    "first_ratio": constant("actor/first_ratio_error", 1e-6),
    "kl": [{"actor/kl_loss": 40.0 if step % 6 == 0 else 0.05} for step in range(60)],  # single heavy steps
    "entropy": [{"actor/entropy": 2.0 * 0.99**step} for step in range(60)],
    "clip_fraction": constant("actor/pg_clipfrac", 0.03),
    "gradient": [{"actor/grad_norm": 1.0 + 5.0 * (step % 9 == 0)} for step in range(60)],
    "skipped_updates": [{"actor/skipped_updates": float(step % 12 == 4)} for step in range(60)],
    "dead_groups": constant("frac_reward_zero_std", 0.5),
    "identical_rollouts": constant("rollouts/understand/identical", 0.8),
    "starving": [{SHARE: 0.2 * (-1) ** step} for step in range(60)],
    "canvas": [{"response_length/text/canvas_share": 0.7 + 0.02 * (step % 3)} for step in range(60)],
    "truncated": constant("response_length/clip_ratio", 0.1),
    "hacking": evaluations([0.5, 0.55, 0.53], rising),
    "wide_interval": [{"val/text/n": 200.0, "val/text/score": 0.5, "val/text/score_ci95": 0.07}],
    "mismatch": constant("actor/importance_mean", 1.05),
    "staleness": constant("staleness/mean", 1.0),
    "exposed_rewards": [{EXPOSED: 0.4, STEP: 4.0}] * 8,
    "restarts": [{"perf/worker_restarts": 2.0}] * 80,
}  # fmt: skip


def test_every_rule_has_both_histories() -> None:
    assert set(SICK) == set(HEALTHY) == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_rule_fires_on_its_sickness_alone(name: str) -> None:
    watch, changes = fold(SICK[name])
    assert [change.rule for change in changes] == [name] and watch.states[name].sick
    assert changes[0].step == watch.states[name].first


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_rule_is_silent_over_what_is_healthy_and_still_was_asked(name: str) -> None:
    watch, changes = fold(HEALTHY[name])
    assert not changes and watch.states[name].readings > 0


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_rule_recovers(name: str) -> None:
    watch, changes = fold([*SICK[name], *list(HEALTHY[name]) * 3], name)
    assert [change.sick for change in changes] == [True, False] and not watch.states[name].sick


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_limit_of_the_config_decides(name: str) -> None:
    limit = 0.0 if RULES[name].below else 1e9
    assert not fold(SICK[name], name, **{name: limit})[1]


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("steps", [[], [{}] * 40, [{"timing_s/learner": 1.0}] * 40])
def test_without_its_metrics_a_rule_says_nothing(name: str, steps: Steps) -> None:
    watch, changes = fold(steps)
    assert not changes and watch.states[name].readings == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_passed_over(bad: float) -> None:
    for name, steps in {**HEALTHY, **SICK}.items():
        mixed: list[dict[str, float]] = []
        for metrics in steps:
            mixed += [dict(metrics), dict.fromkeys(metrics, bad)]
        assert [change.rule for change in fold(mixed, name)[1]] == [name]
        assert not fold([dict.fromkeys(metrics, bad) for metrics in steps])[1]


@pytest.mark.parametrize("name", BUILT_IN)
def test_one_step_is_enough_only_where_one_step_says_it(name: str) -> None:
    at_once = {"first_ratio", "wide_interval"}
    assert [change.rule for change in fold(SICK[name][:1], name)[1]] == ([name] if name in at_once else [])


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_reading_that_swings_around_the_limit_does_not_flap(name: str) -> None:
    """A measure that is a hair beyond the limit and a hair within it, step by step, changes the state once at most."""
    swinging = iter([1.01, 0.99] * 200)
    rule = replace(RULES[name], measure=lambda history: Reading(RULES[name].limit * next(swinging)), reads=("x",))
    watch = Watch({name: rule})
    assert sum(len(watch.log(step, {"x": 1.0})[0]) for step in range(400)) <= 1


def test_hacking_needs_both_a_better_reward_and_a_worse_judge() -> None:
    assert not fold(evaluations([0.5, 0.55, 0.3], flat), "hacking")[1], "the reward stands still: it learns nothing"
    assert not fold(evaluations([0.5, 0.55, 0.7], rising), "hacking")[1], "both rise"
    assert not fold(evaluations([0.5, 0.55, 0.3], rising, width=0.4), "hacking")[1], "the fall may be luck"
    assert not fold(evaluations([0.5], rising), "hacking")[1], "one evaluation"
    (change,) = fold(evaluations([0.5, 0.55, 0.3], rising), "hacking")[1]
    assert change.reading.where == "text" and change.step == 30
    judge = [
        {name.replace("text", "draw"): value for name, value in step.items()} for step in evaluations([0.5, 0.2], flat)
    ]
    both = [{**a, **b} for a, b in zip(evaluations([0.5, 0.6], rising), judge, strict=True)]
    assert not fold(both, "hacking")[1], "the reward of one task and the judge of another"


def test_hacking_from_before_training_compares_with_the_first_steps() -> None:
    steps: list[dict[str, float]] = [{"rewards/text/mean": rising(step)} for step in range(24)]
    held_out = {"val/text/score": 0.5, "val/text/score_ci95": 0.1, "val/text/n": 50.0}
    steps[-1] |= {**held_out, "val/text/score": 0.1}
    watch = Watch({"hacking": RULES["hacking"]})
    watch.log(0, held_out)
    changes = [change for step, metrics in enumerate(steps, 1) for change in watch.log(step, metrics)[0]]
    assert [change.step for change in changes] == [24]


def test_an_evaluation_of_one_prompt_is_too_wide() -> None:
    assert fold([{"val/text/n": 1.0, "val/text/score": 2.0}], "wide_interval")[1][0].reading.value == 1.0
    assert not fold([{"val/text/n": 0.0}], "wide_interval")[1], "nothing was scored: that is another trouble"
    of_ten = {"val/draw/n": 100.0, "val/draw/score": 60.0, "val/draw/score_ci95": 0.9}
    assert not fold([of_ten], "wide_interval")[1], "by the score where that is above 1"


def test_restarts_count_anew_where_a_resumed_run_does() -> None:
    counts = [0.0, 1.0, 1.0, 0.0, 1.0, 2.0]  # resumed at the fourth
    watch, changes = fold([{"perf/worker_restarts": count} for count in counts], "restarts")
    assert watch.states["restarts"].reading and watch.states["restarts"].reading.value == 3.0 and changes[0].step == 6
    old = [{"perf/worker_restarts": 3.0}, *[{"perf/worker_restarts": 3.0}] * 60]
    assert not fold(old, "restarts")[0].states["restarts"].sick, "long ago"


def test_the_place_is_named() -> None:
    assert fold(STARVED, "starving")[1][0].reading.where == "text/format"
    assert fold(SICK["identical_rollouts"], "identical_rollouts")[1][0].reading.where == "understand"


def test_answers_that_fit_their_canvas_from_the_start_do_not_run_into_it() -> None:
    assert not fold(constant("response_length/text/canvas_share", 0.97), "canvas")[1]
    assert not fold(constant("response_length/text/canvas_share", 1.0), "canvas")[1]

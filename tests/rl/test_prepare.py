from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rl.advantages import advantage_shares
from rl.config import Config, LearnerConfig, UniGRPOConfig
from rl.masking import mask_pattern
from rl.prepare import prepare, reward_metrics
from rl.types import Group, RewardCall, RolloutStatus, Score, ScoreStatus, Task
from tests.rl.examples import draw_group, failed, score, text_group

CONFIG = Config(seed=5, learner=LearnerConfig(algorithm=UniGRPOConfig(mu=3)))


def some_groups() -> list[Group]:
    return [
        text_group("a", score(0.0), score(2.0)),
        text_group("b", score(1.0), failed(), task=Task.UNDERSTAND),
        draw_group("c", score(3.0), score(1.0)),
    ]


def test_a_group_with_a_failed_score_is_dropped_whole() -> None:
    groups = some_groups()
    batch = prepare(groups, CONFIG, step=0)
    assert len(batch) == 4
    assert batch.tasks == (Task.TEXT, Task.TEXT, Task.DRAW, Task.DRAW)
    np.testing.assert_allclose(batch.advantages, [-1, 1, 1, -1])
    assert batch.advantages.dtype == np.float32
    kept = [rollout for group in (groups[0], groups[2]) for rollout in group.rollouts]
    assert all(a is b.token_ids for a, b in zip(batch.token_ids, kept, strict=True))
    assert all(a is b.response_mask for a, b in zip(batch.response_mask, kept, strict=True))


def test_nothing_usable_is_an_empty_batch() -> None:
    for groups in ([], [text_group("a", failed(), failed())], [replace(some_groups()[0], scores=())]):
        batch = prepare(groups, CONFIG, step=0)
        assert len(batch) == 0 and len(batch.mask_draws) == 3 and batch.advantages.shape == (0,)


def test_a_tasks_blocks_go_with_its_draws() -> None:
    config = replace(CONFIG, learner=LearnerConfig(algorithm=UniGRPOConfig(mu=3, spg_block_length={"text": 8})))
    found, plain = prepare(some_groups(), config, step=4), prepare(some_groups(), CONFIG, step=4)
    assert [draw.block_length for draw in found.mask_draws[1]] == [8, 8, None, None]
    unblocked = tuple(tuple(replace(draw, block_length=None) for draw in draws) for draws in found.mask_draws)
    assert unblocked == plain.mask_draws


def test_mask_draws_share_ratios_in_a_group_and_never_a_pattern() -> None:
    batch = prepare(some_groups(), CONFIG, step=4)
    assert len(batch.mask_draws) == 3 and all(len(draws) == 4 for draws in batch.mask_draws)
    for draws in batch.mask_draws:
        assert draws[0].ratio == draws[1].ratio and draws[2].ratio == draws[3].ratio
    assert [draws[0].ratio for draws in batch.mask_draws] != [draws[2].ratio for draws in batch.mask_draws]
    seeds = [draw.seed for draws in batch.mask_draws for draw in draws]
    assert len(set(seeds)) == len(seeds)


def test_masks_depend_on_run_step_prompt_and_rollout_alone() -> None:
    groups = some_groups()
    batch = prepare(groups, CONFIG, step=4)
    assert prepare(groups, CONFIG, step=4).mask_draws == batch.mask_draws
    alone = prepare(groups[2:], CONFIG, step=4)
    assert alone.mask_draws == tuple(draws[2:] for draws in batch.mask_draws)
    assert prepare(groups, CONFIG, step=5).mask_draws != batch.mask_draws
    assert prepare(groups, replace(CONFIG, seed=6), step=4).mask_draws != batch.mask_draws


def test_stratified_ratios_cover_the_circle_in_one_step() -> None:
    batch = prepare([some_groups()[0]], replace(CONFIG, learner=LearnerConfig(algorithm=UniGRPOConfig(mu=4))), step=0)
    ordered = sorted(round(draws[0].ratio * 1000) for draws in batch.mask_draws)
    assert np.diff(ordered).tolist() == [250, 250, 250]


def test_on_policy_means_one_known_version() -> None:
    groups = some_groups()
    assert prepare(groups, CONFIG, 0).on_policy
    assert prepare(groups, CONFIG, 0, weight_version=0).on_policy
    assert not prepare(groups, CONFIG, 0, weight_version=1).on_policy
    stale = replace(groups[0], rollouts=tuple(replace(rollout, weight_version=7) for rollout in groups[0].rollouts))
    assert not prepare([stale, groups[2]], CONFIG, 0).on_policy


def test_advantages_without_std() -> None:
    config = replace(CONFIG, learner=LearnerConfig(scale_advantages_by_std=False))
    np.testing.assert_allclose(prepare([text_group("a", score(0.0), score(3.0))], config, 0).advantages, [-1.5, 1.5])


def test_a_rollout_without_a_response_is_refused() -> None:
    group = some_groups()[0]
    empty = replace(group.rollouts[1], response_mask=np.zeros(2, bool))
    with pytest.raises(ValueError, match="rollout 1 of prompt 'sums/a'"):
        prepare([replace(group, rollouts=(group.rollouts[0], empty))], CONFIG, 0)


def test_draws_cover_what_the_learner_masks() -> None:
    batch = prepare(some_groups(), CONFIG, 0)
    for draws in batch.mask_draws:
        for draw, response in zip(draws, batch.response_mask, strict=True):
            assert 1 <= mask_pattern(draw, int(response.sum())).sum() <= response.sum()


def test_reward_metrics_by_hand() -> None:
    groups = [
        text_group("a", score(2.5, correctness=2.0, format=0.5), score(0.5, correctness=0.0, format=0.5)),
        text_group("b", score(1.0, correctness=1.0), failed(ScoreStatus.CRASHED), task=Task.UNDERSTAND),
        draw_group("c", score(0.25, clip=2.5), score(0.25, ScoreStatus.WRONG_FORMAT, clip=2.5)),
    ]
    cut = replace(groups[0].rollouts[0], status=RolloutStatus.TRUNCATED)
    groups[0] = replace(groups[0], rollouts=(cut, groups[0].rollouts[1]))
    metrics = reward_metrics(groups)
    expected = {
        "critic/rewards/mean": 3.5 / 4,
        "critic/rewards/max": 2.5,
        "critic/rewards/min": 0.25,
        "rewards/text/mean": 1.5,
        "rewards/draw/mean": 0.25,
        "rewards/correctness/mean": 1.0,
        "rewards/correctness/std": (2 / 3) ** 0.5,
        "rewards/format/mean": 0.5,
        "rewards/format/std": 0.0,
        "rewards/clip/mean": 2.5,
        "rewards/clip/std": 0.0,
        "score_status/ok": 4 / 6,
        "score_status/wrong_format": 1 / 6,
        "score_status/timeout": 0.0,
        "score_status/crashed": 1 / 6,
        "score_status/invalid": 0.0,
        "response_length/mean": 1.0,
        "response_length/clip_ratio": 1 / 6,
        "rollouts/text/identical": 1.0,
        "rollouts/understand/identical": 1.0,
        "rollouts/draw/identical": 1.0,
        "frac_reward_zero_std": 0.5,
        "frac_groups_dropped": 1 / 3,
    }
    assert metrics == pytest.approx(expected)


def test_shares_of_the_advantages_by_hand() -> None:
    """Terms 0, 3 and 1, 1 have sums 1, 4: the first has all of the variance. Terms 0, 3 and 1, 0 have sums 1, 3: centred -1, 1,
    variance 1; covariances 1.5 and -0.5."""

    def mixed(**terms: float) -> Score:
        return replace(score(sum(terms.values())), terms=terms)

    alike = text_group("a", mixed(big=0.0, small=1.0), mixed(big=3.0, small=1.0))
    against = text_group("b", mixed(big=0.0, small=1.0), mixed(big=3.0, small=0.0))
    equal = text_group("c", mixed(big=1.0, small=0.0), mixed(big=0.0, small=1.0))
    lacking = text_group("d", mixed(big=1.0), mixed(big=0.0, small=2.0))
    assert advantage_shares(alike) == pytest.approx({"big": 1.0})
    assert advantage_shares(against) == pytest.approx({"big": 1.5, "small": -0.5})
    assert advantage_shares(equal) == {}
    assert advantage_shares(lacking) == pytest.approx({"big": -1.0})
    metrics = reward_metrics([alike, against, equal])
    assert metrics["rewards/text/big/advantage_share"] == pytest.approx(1.25)
    assert metrics["rewards/text/small/advantage_share"] == pytest.approx(-0.5)
    alone = reward_metrics([draw_group("e", mixed(clip=1.0), mixed(clip=2.0))])
    assert not any("advantage_share" in name for name in alone), "a reward without another has all"


def test_how_alike_rollouts_are_and_how_full_the_canvas_by_hand() -> None:
    """Of 3 rollouts two are the same: (3 - 2) / (3 - 1). One response token of 4, and of 2; a drawing has no canvas."""
    groups = [text_group("a", score(0.0), score(1.0), score(2.0)), text_group("b", score(1.0), task=Task.UNDERSTAND)]
    other = replace(groups[0].rollouts[2], token_ids=np.array([1, 3], np.int64))
    groups[0] = replace(groups[0], rollouts=(*groups[0].rollouts[:2], other))
    metrics = reward_metrics([*groups, draw_group("c", score(1.0), score(2.0))], {"text": 4, "understand": 2})
    assert metrics["rollouts/text/identical"] == 0.5 and metrics["rollouts/understand/identical"] == 0.0
    assert metrics["response_length/text/canvas_share"] == 1 / 4
    assert metrics["response_length/understand/canvas_share"] == 1 / 2
    assert not any("draw/canvas" in name for name in metrics)


def test_how_each_reward_fared_by_hand() -> None:
    """Seconds 1..4 of `slow`: the median is 2.5; the 99th percentile 4 - 0.03 of the way from 3 to 4."""
    statuses = (ScoreStatus.OK, ScoreStatus.TIMEOUT, ScoreStatus.CRASHED, ScoreStatus.CRASHED)
    calls = [{"slow": RewardCall(status, float(second))} for second, status in enumerate(statuses, 1)]
    scores = [replace(score(1.0, slow=1.0), calls=call) for call in calls]
    scores[0] = replace(scores[0], calls={**calls[0], "quick": RewardCall(ScoreStatus.OK, 0.5)})
    metrics = reward_metrics([text_group("a", *scores[:2]), text_group("b", *scores[2:])])
    assert {name: value for name, value in metrics.items() if "slow/" in name and "mean" not in name} == pytest.approx(
        {
            "rewards/slow/std": 0.0,
            "rewards/slow/timeout_rate": 0.25,
            "rewards/slow/crashed_rate": 0.5,
            "rewards/slow/invalid_rate": 0.0,
            "timing_s/rewards/slow/p50": 2.5,
            "timing_s/rewards/slow/p99": 3.97,
            "timing_s/rewards/slow/total": 10.0,
        }
    )
    assert metrics["timing_s/rewards/quick/total"] == 0.5 and metrics["rewards/quick/crashed_rate"] == 0.0


def test_no_usable_score_has_no_mean() -> None:
    metrics = reward_metrics([text_group("a", failed(), failed())])
    assert not any(name.endswith("/mean") for name in metrics if "reward" in name)
    assert metrics["frac_groups_dropped"] == 1.0 and metrics["score_status/timeout"] == 1.0
    assert reward_metrics([]) == {}


def test_groups_of_equals_are_left_out_where_the_config_says_so() -> None:
    groups = [text_group("a", score(1.0), score(1.0)), *some_groups()]
    assert len(prepare(groups, CONFIG, 0)) == 6
    batch = prepare(groups, replace(CONFIG, learner=replace(CONFIG.learner, drop_equal_groups=True)), 0)
    assert len(batch) == 4 and (batch.advantages != 0).all()
    assert batch.mask_draws == prepare(some_groups(), CONFIG, 0).mask_draws


def test_only_the_members_that_differ_most_are_trained_on() -> None:
    groups = [text_group("a", *[score(float(n)) for n in (1, 0, 1, 2, 1)]), draw_group("c", score(3.0), score(1.0))]
    config = replace(CONFIG, learner=replace(CONFIG.learner, n_trained_per_prompt=3, scale_advantages_by_std=False))
    batch = prepare(groups, config, 0)
    kept = [groups[0].rollouts[n] for n in (1, 3, 4)] + list(groups[1].rollouts)
    assert all(ours is theirs.token_ids for ours, theirs in zip(batch.token_ids, kept, strict=True))
    assert batch.advantages == pytest.approx([-1, 1, 0, 1, -1])
    seeds = {draw.seed for draw in prepare(groups, CONFIG, 0).mask_draws[0]}
    assert {draw.seed for draw in batch.mask_draws[0]} < seeds, (
        "the masks are those of the members, whoever else is there"
    )

"""Masks that are states of the sampler: their laws, by enumeration over all orders and all masks of short responses."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.config import Config, LearnerConfig, UniGRPOConfig
from rl.estimators import ESTIMATORS
from rl.estimators.matched import blocks_at
from rl.estimators.trajectory import in_order
from rl.learner.microbatches import collate
from rl.masking import SCHEDULES, mask_pattern, mask_ratios, spread_starts
from rl.prepare import prepare, sampled_blocks
from rl.types import MaskDraw, Modality, Rollout, RolloutStatus, Span, Task, TrainBatch
from tests.rl.examples import score, text_group

GOLDEN = [1, 2]  # two of the first block, under seed 3
MATCHED = ("matched", "matched_order", "matched_levels", "matched_blocks")


def views(schedule: str, ratio: float, steps, blocks: tuple[int, ...], seed: int = 3):
    steps = np.asarray(steps, np.int32)
    found = ESTIMATORS["masked"].views(MaskDraw(seed, ratio, None, blocks), steps, UniGRPOConfig(schedule=schedule))
    found.check("masked", len(steps))
    return found.hidden[0], found.weights[0] > 0, found.scale


def truth(length: int, seed: int = 0):
    """log p(token i | which tokens are hidden): any table at all, one number for each token and set."""
    draw = np.random.default_rng(seed)
    table = {}
    for count in range(1, length + 1):
        for hidden in combinations(range(length), count):
            for token in hidden:
                table[token, hidden] = -draw.exponential()
    return lambda hidden, scored: sum(table[i, tuple(np.flatnonzero(hidden))] for i in np.flatnonzero(scored))


def mean_over_masks(schedule: str, steps, blocks: tuple[int, ...], logp) -> float:
    """The estimate's expectation over uniform ratios and over all choices of the hidden tokens."""
    length, found = len(steps), []
    ends = np.cumsum(blocks)
    for at in range(1, length + 1):
        _, scored, scale = views(schedule, at / length, steps, blocks)
        block = int(np.searchsorted(ends, np.flatnonzero(scored)[0], side="right"))
        inside = range(int(ends[block] - blocks[block]), int(ends[block]))
        choices = []
        for chosen in combinations(inside, int(scored.sum())):
            mask = np.isin(np.arange(length), chosen)
            choices.append(scale * logp(mask | (np.arange(length) >= ends[block]), mask))
        found.append(np.mean(choices))
    return float(np.mean(found))


def mean_over_orders(sizes: list[list[int]], logp) -> float:
    """The trajectory's log-likelihood, over all orders in which a sampler could reveal so many tokens a step and block."""
    rows = [[]]
    for counts in sizes:
        steps = np.repeat(np.arange(len(counts)), counts)
        rows = [[*row, *(len(sum(sizes, [])) * len(row) + np.array(each)).tolist()] for row in rows
                for each in permutations(steps)]  # fmt: skip
    totals = []
    for row in rows:
        path = in_order(np.array(row), 1, MaskDraw(0, 1.0), None)
        totals.append(sum(logp(hidden, weights > 0) for hidden, weights in zip(path.hidden, path.weights, strict=True)))
    return float(np.mean(totals))


@pytest.mark.parametrize(
    "sizes",
    [
        [[4]],
        [[1, 1, 1, 1]],
        [[2, 2]],
        [[1, 3]],
        [[3, 1]],
        [[2, 1], [2]],
        [[1, 1], [1, 2]],
        [[1], [3, 1]],
        [[2], [1, 1]],
    ],
)
def test_the_mean_is_the_trajectorys_over_all_orders(sizes) -> None:
    """Whatever the steps reveal, evenly or not, in one block or in several."""
    blocks = tuple(sum(counts) for counts in sizes)
    steps = np.repeat(np.arange(sum(map(len, sizes))), sum(sizes, []))
    logp = truth(sum(blocks))
    assert mean_over_masks("matched", steps, blocks, logp) == pytest.approx(mean_over_orders(sizes, logp), rel=1e-9)


def test_the_samplers_own_order_is_biased_and_by_how_much() -> None:
    """It scores what the step left masked as well, which later steps wrote with more to see."""
    steps, blocks, logp = [0, 1, 2], (3,), truth(3)
    path = in_order(np.array(steps), 1, MaskDraw(0, 1.0), None)
    exact = sum(logp(hidden, weights > 0) for hidden, weights in zip(path.hidden, path.weights, strict=True))
    found = [views("matched_order", at / 3, steps, blocks) for at in (1, 2, 3)]
    mean = np.mean([scale * logp(hidden, scored) for hidden, scored, scale in found])
    by_hand = [3 / (3 - k) * logp(np.arange(3) >= k, np.arange(3) >= k) for k in range(3)]
    assert mean == pytest.approx(np.mean(by_hand)) and mean != pytest.approx(exact, rel=1e-3)


@given(st.integers(0, 2**60), st.integers(1, 30), st.floats(0.001, 1))
def test_one_step_is_the_full_mask(seed: int, length: int, ratio: float) -> None:
    for schedule in ("matched", "matched_order", "matched_levels"):
        hidden, scored, scale = views(schedule, ratio, np.zeros(length), (length,), seed)
        assert hidden.all() and scored.all() and scale == 1.0


@given(st.integers(0, 2**60), st.integers(1, 30), st.data())
def test_one_token_a_step_in_one_block_is_a_random_mask(seed: int, length: int, data) -> None:
    count = data.draw(st.integers(1, length))
    order = np.random.default_rng(seed % 2**32).permutation(length)
    for schedule in ("matched", "matched_levels", "matched_blocks"):
        hidden, scored, scale = views(schedule, count / length, order, (length,), seed)
        assert (hidden == mask_pattern(MaskDraw(seed, count / length), length)).all() and (hidden == scored).all()
        assert scale == length / count


@given(st.data())
def test_hidden_tokens_are_those_of_a_state(data) -> None:
    """Before the block all is shown, after it all is hidden and not scored; inside, as many as before some step."""
    counts = data.draw(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=3))
    shuffled = np.random.default_rng(data.draw(st.integers(0, 999)))
    steps, first = [], 0
    for block in counts:
        steps += shuffled.permutation(np.repeat(np.arange(first, first + len(block)), block)).tolist()
        first += len(block)
    blocks, ends = tuple(map(sum, counts)), np.cumsum(list(map(sum, counts)))
    ratio, seed = data.draw(st.floats(0.001, 1)), data.draw(st.integers(0, 999))
    hidden, scored, _ = views("matched", ratio, steps, blocks, seed)
    at = int(np.searchsorted(ends, np.flatnonzero(scored)[0], side="right"))
    place = np.arange(len(steps))
    assert hidden[place >= ends[at]].all() and not hidden[place < ends[at] - blocks[at]].any()
    assert not scored[place >= ends[at]].any() and hidden.sum() >= ratio * len(steps) - 1e-9
    assert scored.sum() in np.cumsum(counts[at][::-1])
    _, own, _ = views("matched_order", ratio, steps, blocks, seed)
    written = np.array(steps)[: ends[at]][~own[: ends[at]]]
    assert own.sum() == scored.sum() and np.array(steps)[own].min() > written.max(initial=-1)
    whole, all_scored, scale = views("matched_levels", ratio, steps, blocks, seed)
    assert (whole == all_scored).all() and whole.sum() == hidden.sum() and scale == len(steps) / whole.sum()
    _, any_count, _ = views("matched_blocks", ratio, steps, blocks, seed)
    needed, after = int(np.ceil(round(ratio * len(steps), 9))), 0
    for size in reversed(blocks):  # the block of the token that is so many from the end
        if needed <= after + size:
            break
        after += size
    assert any_count.sum() == needed - after


def test_a_golden_mask_of_two_blocks() -> None:
    # Two tokens a step; the text ended one token into its third block.
    steps, blocks = [1, 0, 0, 1, 2, 3, 3, 2, 4], (4, 4, 1)
    expected = {0.1: (1, 1), 0.2: (3, 2), 0.4: (5, 4), 0.6: (7, 2), 1.0: (9, 4)}  # ratio: hidden tokens, scored ones
    found = {ratio: views("matched", ratio, steps, blocks) for ratio in expected}
    assert {ratio: (int(hidden.sum()), int(scored.sum())) for ratio, (hidden, scored, _) in found.items()} == expected
    assert [scale for _, _, scale in found.values()] == [9, 4.5, 2.25, 4.5, 2.25]
    assert np.flatnonzero(found[0.6][1]).tolist() == GOLDEN
    assert np.flatnonzero(views("matched_order", 0.6, steps, blocks)[1]).tolist() == [0, 3]


@given(
    st.sampled_from(["group", "group_middle", *MATCHED]), st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**60)
)
def test_spread_points_are_a_lattice_and_cover_each_update(schedule: str, count: int, mu: int, seed: int) -> None:
    starts, total = spread_starts(schedule, count, mu, seed), SCHEDULES[schedule].total
    rows = np.array([mask_ratios(schedule, mu, 0, total=total, start=start) for start in starts])
    if schedule == "group_middle":
        assert rows.min() > 0.2 - 1e-9 and rows.max() <= 0.8 + 1e-9
        rows = (rows - 0.2) / 0.6
    step = 3 / total * (5 / 3 if schedule == "group_middle" else 1)  # rounding to timesteps
    ordered = np.sort(rows.ravel())
    assert (np.abs(np.diff(ordered) - 1 / rows.size) < step).all()
    for n in range(mu):  # no arc of the circle of length 2/count or 2/mu is without a point
        column = np.sort(rows[:, n])
        gaps = np.diff([*column, column[0] + 1])
        assert gaps.max() <= 2 / count + 1 / (count * mu) + step or count < mu
    assert starts != spread_starts(schedule, count, mu, seed + 1) or count * mu == 1 or total < 2000


@pytest.mark.parametrize("schedule", MATCHED)
def test_prompts_of_a_task_share_a_circle_and_members_a_level(schedule: str) -> None:
    learner = LearnerConfig(algorithm=UniGRPOConfig(mu=2, schedule=schedule))
    groups = [text_group(name, score(0.0), score(2.0)) for name in "abcd"]
    batch = prepare(groups, Config(seed=5, learner=learner), step=3)
    ratios = np.array([[draw.ratio for draw in row] for row in batch.mask_draws])  # [mu, B]
    assert (ratios[:, ::2] == ratios[:, 1::2]).all()
    assert np.diff(np.sort(ratios[:, ::2].ravel())) == pytest.approx(1 / 8, abs=1e-5)
    assert all(sum(draw.blocks) == int(mask.sum()) for row in batch.mask_draws
               for draw, mask in zip(row, batch.response_mask, strict=True))  # fmt: skip


def test_members_of_a_group_cover_the_ratios_in_one_update() -> None:
    learner = LearnerConfig(algorithm=UniGRPOConfig(mu=2, schedule="group"))
    batch = prepare([text_group("a", *map(score, range(8)))], Config(seed=5, learner=learner), step=3)
    for row in batch.mask_draws:
        assert np.diff(np.sort([draw.ratio for draw in row])) == pytest.approx(1 / 8, abs=0.07)
    assert not any(draw.blocks for row in batch.mask_draws for draw in row)


def rollout(lengths: list[int], kinds: list[Modality]) -> Rollout:
    spans, at = [], 0
    for length, kind in zip(lengths, kinds, strict=True):
        spans.append(Span(at, at + length, kind))
        at += length
    steps = np.arange(at, dtype=np.int32)
    return Rollout("a", 0, np.arange(at), steps >= 0, steps, 1, 1, RolloutStatus.COMPLETE, spans=tuple(spans))


def test_blocks_are_those_of_the_tasks_sampler() -> None:
    config = Config()
    text = replace(config.rollout.text, block_length=4)
    think = replace(config.rollout.think_draw, think=replace(config.rollout.think_draw.think, block_length=5))
    config = replace(config, rollout=replace(config.rollout, text=text, think_draw=think))
    words, picture = rollout([10], [Modality.TEXT]), rollout([16], [Modality.IMAGE])
    both = rollout([12, 16], [Modality.TEXT, Modality.IMAGE])
    assert sampled_blocks(words, Task.TEXT, config) == (4, 4, 2)
    assert sampled_blocks(picture, Task.DRAW, config) == (16,)
    assert sampled_blocks(both, Task.THINK_DRAW, config) == (5, 5, 2, 16)


@pytest.mark.parametrize(("prefix", "expected"), [(4, (4, 4, 2)), (3, (1, 4, 4, 1)), (6, (2, 4, 4)), (1, (3, 4, 3))])
def test_a_block_causal_policys_blocks_count_from_the_whole_sequences_start(prefix: int, expected) -> None:
    """Whatever the recipe's blocks are: what the learner shows before a block is what the policy saw."""
    assert blocks_at(np.arange(prefix, prefix + 10), 4) == expected
    ends = np.cumsum(expected)
    steps = np.concatenate([np.zeros(n, np.int32) + 2 * at for at, n in enumerate(expected)])
    algorithm = UniGRPOConfig(schedule="matched", mu=1)
    for ratio in (0.1, 0.3, 0.5, 0.8, 1.0):
        batch = TrainBatch(
            (np.arange(prefix + 10),), (np.arange(prefix + 10) >= prefix,), np.ones(1, np.float32),
            ((MaskDraw(7, ratio, None, (5, 5)),),), (Task.TEXT,), (steps,),
        )  # fmt: skip
        data = collate(batch, [(0, 1.0)], torch.device("cpu"), algorithm, block=4)
        scored = np.flatnonzero(data.term_weights[0, 0, 0, prefix:].numpy())
        at = int(np.searchsorted(ends, scored[0], side="right"))
        assert scored.tolist() == list(range(ends[at] - expected[at], ends[at])), "one step a block hides it whole"
        assert data.hidden[0, 0, 0, prefix:].numpy().tolist() == (np.arange(10) >= ends[at] - expected[at]).tolist()

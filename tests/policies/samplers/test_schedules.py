"""How many tokens and codes a step reveals: the originals' counts, which their rounding decides."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.families.registry import FAMILIES
from policies.samplers import DRAWN, PLAIN, TEXT_SCHEDULES
from policies.samplers.schedules import dream_counts, dream_shares, masked_counts, order_noise, uniform_counts
from rl.types import ImageSampling, TextSampling


@pytest.mark.parametrize(
    ("masks", "steps", "counts"),
    [
        (32, 8, [3, 4, 4, 4, 4, 4, 4, 5]),
        (8, 8, [0, 1, 1, 1, 1, 1, 1, 2]),
        (10, 1, [10]),
        (3, 5, [0, 0, 0, 1, 2]),
        (0, 3, [0, 0, 0]),
    ],
)
def test_dream_rounds_its_share_down(masks, steps, counts):
    assert dream_counts(masks, steps) == counts


@given(st.sampled_from([*TEXT_SCHEDULES]), st.integers(0, 300), st.integers(1, 64))
def test_every_mask_is_revealed_once(name, masks, steps):
    schedule = TEXT_SCHEDULES[name]
    counts, shares = schedule.counts(masks, steps), schedule.shares(steps)
    assert len(counts) == len(shares) == steps and sum(counts) == masks and min(counts) >= 0
    assert shares[-1] == 1 and all(0 < share <= 1 for share in shares)


@given(st.integers(1, 300), st.integers(1, 64))
def test_uniform_counts_are_what_the_shares_round_up_to(masks, steps):
    assert uniform_counts(masks, steps)[0] == -(-masks // steps)
    assert dream_shares(steps)[0] < 1 / steps or steps == 1


# floor(codes * cos(pi/2 * k/T)), in single precision, as MMaDA's t2i_generate: 511, not 512, at k/T = 2/3.
@pytest.mark.parametrize(
    ("steps", "schedule", "step", "left"),
    [
        (15, "cosine", 10, 511),
        (18, "cosine", 12, 511),
        (3, "cosine", 2, 511),
        (12, "cosine", 3, 946),
        (3, "linear", 1, 682),
    ],
)
def test_codes_still_masked_of_1024(steps, schedule, step, left):
    assert masked_counts(1024, ImageSampling(steps=steps, schedule=schedule))[step - 1] == left


def test_the_noise_on_the_order_of_codes_falls_as_a_product():
    assert order_noise(ImageSampling(steps=4, remask_temperature=2.0)) == [1.5, 0.75, 0.1875, 0.0]
    assert order_noise(ImageSampling(steps=1)) == [0.0]


def test_families_state_how_their_code_samples():
    said = {name: (family.habits.schedule, family.habits.confidence) for name, family in FAMILIES.items()}
    assert said == {
        "llada": ("uniform", PLAIN), "mmada": ("uniform", PLAIN), "Dream": ("dream", DRAWN), "sdar": ("uniform", DRAWN),
        "llada2_moe": ("uniform", DRAWN),
    }  # fmt: skip
    dream = FAMILIES["Dream"].habits
    assert dream.chosen(TextSampling()) == dream
    chosen = dream.chosen(TextSampling(schedule="uniform", confidence="plain"))
    assert (chosen.schedule, chosen.confidence, chosen.top_p_first) == ("uniform", PLAIN, True)


# (masks, steps) as people set them, and odd ones; the original's line, on the same float32 times.
PACES = (
    (32, 8), (24, 24), (40, 7), (256, 256), (256, 128), (512, 64), (768, 768), (768, 512), (128, 32), (100, 9), (1, 1),
    (1, 8), (2, 3), (5, 5), (7, 2), (13, 12), (31, 32), (33, 32), (64, 63), (64, 65), (99, 10), (1000, 50), (17, 4), (6, 48),
)  # fmt: skip


@pytest.mark.parametrize(("masks", "steps"), PACES)
def test_dreams_pace_is_its_line(masks, steps):
    """int(masks that are left * (1 - s/t)), t and s neighbours of steps + 1 equal times from 1 to 0.001; all at the last."""
    times, left, expected = torch.linspace(1, 1e-3, steps + 1), torch.tensor(masks), []
    for step in range(steps):
        share = 1 - times[step + 1] / times[step]
        expected.append(int(left * share) if step < steps - 1 else int(left))
        left = left - expected[-1]
    assert dream_counts(masks, steps) == expected and sum(expected) == masks


@pytest.mark.parametrize("codes", [16, 36, 64, 256, 576, 1024, 4096])
@pytest.mark.parametrize("steps", [3, 6, 9, 12, 15, 18, 24, 30, 48])
def test_two_thirds_of_a_cosine_leave_one_code_less_than_half(codes, steps):
    """cos(pi/3) is 0.49999997 in single precision. Where that many steps reveal one code each, there is nothing to round."""
    if codes // 2 > steps:
        assert masked_counts(codes, ImageSampling(steps=steps))[2 * steps // 3 - 1] == codes // 2 - 1


@pytest.mark.parametrize("steps", [*range(1, 17), 24, 30, 50, 64])
def test_the_noise_at_step_k_is_the_product_of_what_is_left_of_the_time(steps):
    expected, noise = [], 3.0
    for step in range(1, steps + 1):
        noise *= 1 - step / steps
        expected.append(noise)
    assert order_noise(ImageSampling(steps=steps, remask_temperature=3.0)) == pytest.approx(
        expected, rel=1e-6, abs=1e-12
    )


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("steps", [2, 4, 7, 10, 15, 20, 21, 25, 33, 45, 50])
def test_every_step_of_a_schedule_leaves_as_many_codes_as_mmadas_line(steps, schedule):
    """floor(codes * noise(k / T)), at least 1, less than before, and none after the last step, in single precision."""
    for codes in (49, 100, 144, 196, 225, 400, 784, 2304):
        left, expected = codes, []
        for step in range(1, steps + 1):
            time = torch.tensor(step / steps)
            share = torch.cos(time * torch.pi * 0.5) if schedule == "cosine" else 1 - time
            left = 0 if step == steps else max(1, min(left - 1, int((codes * share).floor())))
            expected.append(left)
        if steps < codes:  # with more steps the last code waits there
            assert masked_counts(codes, ImageSampling(steps=steps, schedule=schedule)) == expected, codes

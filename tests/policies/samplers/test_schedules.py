"""How many tokens and codes a step reveals: the originals' counts, which their rounding decides."""

from __future__ import annotations

import pytest
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

"""A group whose members no seed tells apart is sampled once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.generate import rollout_group
from policies.samplers.tokens import seedless
from rl.types import ImageSampling, TextSampling
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt


@pytest.mark.parametrize(
    ("sampling", "prompt"),
    [
        (TextSampling(16, 8, 8, temperature=0.0), toy_text_prompt(2)),
        (ImageSampling(4, 1.5, temperature=0.0, remask_temperature=0.0), toy_draw_prompt(2)),
    ],
)
def test_greedy_members_are_computed_once(sampling, prompt, monkeypatch) -> None:
    policy, hidden, batches = toy_policy(), toy_policy().hidden, []

    def counted(ids, *args, **kwargs):
        batches.append(len(ids))
        return hidden(ids, *args, **kwargs)

    monkeypatch.setattr(policy, "hidden", counted)
    group = rollout_group(policy, prompt, sampling, [3, 1, 2], 0)
    assert set(batches) == {1} and [rollout.seed for rollout in group] == [3, 1, 2]
    assert len({rollout.token_ids.tobytes() for rollout in group}) == 1
    assert len({rollout.step_map.tobytes() for rollout in group}) == 1


def test_what_a_seed_decides_is_drawn_for_each() -> None:
    text = TextSampling(16, 8, 8, temperature=0.0)
    image = ImageSampling(temperature=0.0, remask_temperature=0.0)
    assert seedless(text) and seedless(image) and seedless(replace(text, remasking="margin"))
    drawn = (replace(text, temperature=1.0), replace(text, remasking="random"), replace(image, remask_temperature=1.0))
    assert not any(map(seedless, drawn))

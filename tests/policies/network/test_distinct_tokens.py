"""Repeated tokens are projected once in the first layer, and a group that no seed can part is sampled once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.policy import bench_policy
from benchmarks.speed.rollout import Shape
from policies.generate import rollout_group
from policies.network.distinct_tokens import Distinct
from policies.network.prepacked_weights import packed
from policies.network.transformer import Block
from policies.samplers.tokens import seedless
from rl.types import ImageSampling, TextSampling
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt

SMALL = Shape(d_model=32, n_layers=3, n_heads=4, mlp_hidden_size=48, codebook=0)
KINDS = ({}, {"n_kv_heads": 2, "head_dim": 6, "qk_norm": True, "qkv_bias": True}, {"rotary_dim": 4, "shifted": True})


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_states_of_repeated_tokens_are_the_same(kind: dict) -> None:
    module = bench_policy(SMALL, 64, **kind).module
    ids = torch.randint(0, 9, (3, 20), generator=torch.Generator().manual_seed(1))
    attention = torch.ones_like(ids, dtype=torch.bool)
    attention[0, :4] = False
    expected = module(ids, attention)
    seen: list[tuple[int, ...]] = []
    first = module.blocks[0]
    assert isinstance(first, Block)
    first.attn_norm.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    torch.testing.assert_close(module(ids, attention), expected, rtol=0, atol=0)
    with packed(module):
        torch.testing.assert_close(module(ids, attention), expected, rtol=1e-5, atol=1e-5)
    assert seen == [
        (3, 20, 32),
        (len(ids.unique()), 32),
    ]  # a learner's pass, whose rounding must not depend on repetition


def test_where_few_repeat_nothing_is_looked_up() -> None:
    assert Distinct.of(torch.arange(8)[None]) is None
    found = Distinct.of(torch.tensor([[5, 5, 7], [7, 5, 9]]))
    assert found is not None and found.tokens.tolist() == [5, 7, 9]
    assert found.where.tolist() == [[0, 0, 1], [1, 0, 2]]


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

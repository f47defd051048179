"""Block-causal sampling: the tokens of the plain algorithm, whatever is kept from pass to pass."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.policy import FIRST_PLAIN, MASK, bench_policy
from benchmarks.speed.plain import block_generate
from benchmarks.speed.rollout import Shape
from policies.generate import generate_text
from policies.infill import infill_text
from policies.policy import MaskedDiffusionPolicy
from policies.samplers.states import base as ways
from policies.samplers.states.block import BlockStates
from policies.samplers.states.step import Shown
from policies.samplers.text import windows
from rl.errors import PolicyError
from rl.types import TextSampling

SIZES = Shape(d_model=32, n_layers=2, n_heads=4, mlp_hidden_size=48, codebook=0)
OWN = 4
TEXT = TextSampling(max_new_tokens=16, block_length=OWN, steps=8)
VARIANTS = (
    TEXT,
    replace(TEXT, temperature=0.0),
    replace(TEXT, steps=16, confidence_threshold=0.02),
    replace(TEXT, steps=12, temperature=0.7, top_k=20, top_p=0.9, repetition_penalty=1.3, remasking="entropy"),
)


@cache
def policy(eos: int = -1) -> MaskedDiffusionPolicy:
    made = bench_policy(SIZES, 64, seed=2, block_length=OWN, n_kv_heads=2, qk_norm=True)
    with torch.no_grad():
        made.module.ff_out.weight.mul_(4)  # sure enough for thresholds to matter
    made.vocabulary = replace(made.vocabulary, eos_id=eos)
    return made


class Uncached(BlockStates):
    """The same sampler, with nothing kept: every pass is over all tokens up to the end of the block."""

    def hidden(self, shown: Shown) -> torch.Tensor:
        stop = (shown.block.start // self.block_length + 1) * self.block_length
        return self.policy.hidden(shown.ids[:, :stop], rows=shown.rows)


def prompt_of(length: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(FIRST_PLAIN, 64, length).tolist()


def rows(samples) -> list:
    return [(sample.token_ids.tolist(), sample.step_map.tolist()) for sample in samples]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 21), st.lists(st.integers(0, 2**62), min_size=1, max_size=5, unique=True), st.sampled_from(VARIANTS)
)
def test_the_cache_moves_no_token(length, seeds, sampling):
    """Also where some members end early, and where they take different numbers of steps."""
    prompts = [prompt_of(length, seeds[0])] * len(seeds)
    found = generate_text(policy(eos=7), prompts, sampling, seeds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ways, "BlockStates", Uncached)
        assert rows(generate_text(policy(eos=7), prompts, sampling, seeds)) == rows(found)


@pytest.mark.parametrize("length", [3, 8, 13])
@pytest.mark.parametrize("steps", [4, 8, 16])
def test_greedy_text_is_the_plain_algorithms(length, steps):
    prompt = prompt_of(length, length)
    plain = block_generate(policy(), torch.tensor([prompt] * 2), steps=steps, length=16, block=OWN, mask_id=MASK)
    sampling = replace(TEXT, steps=steps, temperature=0.0)
    samples = generate_text(policy(), [prompt] * 2, sampling, [0, 1])
    assert [sample.token_ids.tolist() for sample in samples] == plain[:, length:].tolist()


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 21),
    st.lists(st.integers(0, 2**62), min_size=2, max_size=5, unique=True),
    st.sampled_from(VARIANTS),
)
def test_a_response_does_not_depend_on_its_batch_mates_or_their_order(length, seeds, sampling):
    prompt, other = prompt_of(length, seeds[0]), prompt_of(length + 3, seeds[1])
    together = rows(generate_text(policy(eos=7), [prompt] * len(seeds), sampling, seeds))
    assert rows(generate_text(policy(eos=7), [prompt] * len(seeds), sampling, seeds[::-1]))[::-1] == together
    for seed, alone in zip(seeds, together, strict=True):
        mixed = generate_text(policy(eos=7), [other, prompt, other], sampling, [1, seed, 2])
        assert rows(mixed)[1] == alone


def test_blocks_are_filled_in_order_and_at_an_even_pace():
    sample = generate_text(policy(), [prompt_of(6, 0)], replace(TEXT, steps=16), [3])[0]
    steps = sample.step_map
    # Two positions of the prompt's last block, three whole blocks, and a fifth, of which the canvas has two: four steps each.
    *whole, last = [sorted(steps[part].tolist()) for part in windows(16, OWN, 2)]
    assert whole == [[0, 1], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert len(last) == 2 and set(last) < {16, 17, 18, 19}


def test_a_longer_block_of_the_settings_is_filled_in_the_policys_own_blocks():
    prompt = prompt_of(5, 1)
    own = generate_text(policy(), [prompt], TEXT, [1])
    assert rows(generate_text(policy(), [prompt], replace(TEXT, block_length=8), [1])) == rows(own)


def test_given_tokens_stay():
    given_ids = [-1, 30, -1, -1, 31, 32, 33, 34, -1, 35]
    sample = infill_text(policy(), [prompt_of(6, 2)], [given_ids], TEXT, [0])[0]
    assert [token for token, known in zip(sample.token_ids, given_ids, strict=True) if known >= 0] == (
        [token for token in given_ids if token >= 0]
    )
    assert (sample.step_map[[0, 2, 3, 8]] >= 0).all() and MASK not in sample.token_ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_length": 2}, "block_length=2, max_new_tokens=16: must be multiples of 4"),
        ({"steps": 2}, "steps=2: must be a multiple of 4, the blocks of 4 tokens"),
        ({"cache": "dual"}, "cache=dual: bench is block-causal and has an exact cache of its own; set cache=none"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(PolicyError, match=message):
        generate_text(policy(), [[20]], replace(TEXT, **change), [0])


@pytest.mark.parametrize("new", [4, 12])
@pytest.mark.parametrize("length", range(1, 25))
def test_the_last_block_is_filled_with_masks_to_its_end(monkeypatch, length, new):
    """As the policy was trained. What stands behind max_new_tokens is sampled with the rest, seen by it, and cut off."""
    seen = []

    class Watched(BlockStates):
        def hidden(self, shown: Shown) -> torch.Tensor:
            start = self._first(shown)
            seen.append(
                (start, (shown.ids[0, start : start + OWN] == MASK).sum().item(), shown.ids[0, start:].tolist())
            )
            return super().hidden(shown)

    monkeypatch.setattr(ways, "BlockStates", Watched)
    sampling = TextSampling(new, OWN, new, temperature=0.0)
    (sample,) = generate_text(policy(), [prompt_of(length, length)], sampling, [0])
    assert len(sample.token_ids) == new and MASK not in sample.token_ids
    last = (length + new - 1) // OWN * OWN
    assert max(start for start, _, _ in seen) == last
    _, masks, shown = next(each for each in seen if each[0] == last)  # its first step
    assert len(shown) == OWN and masks == OWN - max(0, length - last)


@pytest.mark.parametrize("length", [1, 2, 5, 6, 7, 9, 10, 11, 12, 15, 18, 21])
def test_greedy_text_behind_any_prompt_is_the_plain_algorithms(length):
    prompt = prompt_of(length, 50 + length)
    for steps in (4, 16):
        plain = block_generate(policy(), torch.tensor([prompt]), steps=steps, length=16, block=OWN, mask_id=MASK)
        (sample,) = generate_text(policy(), [prompt], replace(TEXT, steps=steps, temperature=0.0), [0])
        assert sample.token_ids.tolist() == plain[0, length:].tolist()

"""Fast-dLLM's caches: what is kept, what is computed anew, and that members of a group stay strangers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.policy import bench_policy
from benchmarks.speed.rollout import Shape
from policies.generate import generate_text
from policies.network.cache import GroupCache, KeyValueCache
from policies.network.rows import Rows
from policies.samplers.states.cached import DualStates, PrefixStates
from policies.samplers.states.step import Shown
from rl.errors import ConfigError
from rl.types import TextSampling
from tests.toys import toy_policy

POLICY = toy_policy()
SMALL = Shape(d_model=32, n_layers=3, n_heads=2, mlp_hidden_size=64, codebook=0)
TEXT = TextSampling(max_new_tokens=16, block_length=8, steps=8)
VARIANTS = [
    replace(TEXT, cache=cache, **more)
    for cache in ("prefix", "dual")
    for more in ({}, {"temperature": 0.0}, {"steps": 16, "confidence_threshold": 0.01})
]


def rows(samples) -> list:
    return [(sample.token_ids.tolist(), sample.step_map.tolist()) for sample in samples]


@settings(max_examples=8, deadline=None)
@given(
    st.integers(1, 20), st.lists(st.integers(0, 2**62), min_size=2, max_size=5, unique=True), st.sampled_from(VARIANTS)
)
def test_a_response_does_not_depend_on_its_batch_mates_or_their_order(length, seeds, sampling):
    prompt, other = (np.random.default_rng(seed).integers(20, 250, length).tolist() for seed in seeds[:2])
    together = rows(generate_text(POLICY, [prompt] * len(seeds), sampling, seeds))
    assert rows(generate_text(POLICY, [prompt] * len(seeds), sampling, seeds[::-1]))[::-1] == together
    for seed, alone in zip(seeds, together, strict=True):
        assert rows(generate_text(POLICY, [other, prompt], sampling, [1, seed]))[1] == alone


@pytest.mark.parametrize("way", [PrefixStates, DualStates])
@pytest.mark.parametrize("shifted", [False, True])
def test_until_something_changes_a_cache_is_exact(way, shifted):
    """The second pass over a block, with nothing written in between, gives what a pass over the whole sequence gives."""
    policy = bench_policy(SMALL, 256, shifted=shifted)
    ids = torch.randint(20, 250, (3, 20), generator=torch.Generator().manual_seed(0))
    rows = torch.zeros_like(ids, dtype=torch.bool)
    rows[:, 8:11] = True
    shown = Shown(ids, Rows.of(rows), slice(8, 12), torch.arange(3))
    states, expected = way(policy, TEXT, 3), policy.hidden(ids, rows=rows)
    with torch.inference_mode():
        first, second = states.hidden(shown), states.hidden(shown)
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(second, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("way", "sees"), [(PrefixStates, [False, True]), (DualStates, [False, False])])
def test_what_is_outside_is_as_it_was_at_the_first_step(way, sees):
    """A change before the block goes unseen, one behind it is seen by ``prefix`` alone, and one within it by both."""
    ids = torch.randint(20, 250, (1, 20), generator=torch.Generator().manual_seed(1))
    rows = torch.zeros_like(ids, dtype=torch.bool)
    rows[:, 9] = True
    for place, seen in zip((3, 15, 10), [*sees, True], strict=True):
        states, changed = way(POLICY, TEXT, 1), ids.clone()
        changed[0, place] += 1
        with torch.inference_mode():
            before = states.hidden(Shown(ids, Rows.of(rows), slice(8, 12), torch.arange(1)))
            after = states.hidden(Shown(changed, Rows.of(rows), slice(8, 12), torch.arange(1)))
        assert bool((after - before).abs().max() > 1e-4) == seen


def test_members_of_a_group_share_a_row_until_they_differ():
    group = GroupCache(cache := KeyValueCache(1), 4)
    cache.write(0, torch.ones(1, 1, 2, 1), torch.ones(1, 1, 2, 1))
    cache.commit(2)
    assert group.of(torch.tensor([0])) is cache
    own = group.of(torch.arange(4))
    own.write(0, torch.arange(4.0).view(4, 1, 1, 1), torch.zeros(4, 1, 1, 1))
    own.commit(1)
    part = group.of(torch.tensor([1, 3]))
    assert part is group.of(torch.tensor([1, 3])) and part.length == 3
    keys, _ = part.write(0, torch.zeros(2, 1, 1, 1), torch.zeros(2, 1, 1, 1))
    assert keys[:, 0, :, 0].tolist() == [[1, 1, 1, 0], [1, 1, 3, 0]]
    group.keep(torch.tensor([2]))
    keys, _ = group.of(torch.tensor([0])).write(0, torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))
    assert keys[:, 0, :, 0].tolist() == [[1, 1, 2, 0]]


def test_an_unknown_cache_is_refused():
    with pytest.raises(ConfigError, match="cache='double': allowed: none, prefix, dual"):
        generate_text(POLICY, [[20]], replace(TEXT, cache="double"), [0])
